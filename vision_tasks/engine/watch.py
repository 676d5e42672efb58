"""Folders that receive files: looked at again and again, each file taken once nobody writes to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from vision_tasks.engine.sources import Item
from vision_tasks.engine.store import Version
from vision_tasks.types import Failure

LOOK_EVERY = 1.0  # seconds
_OLD = 60.0  # seconds: what was not written to for so long is complete
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download")
_SHARE = 20  # tables are written anew in no more than one part of this many of the time


@dataclass
class Rested:
    """The images of a walk that are complete: not written to for long, or as they were at the last look."""

    walk: Iterable[Item | Failure]
    _waiting: dict[str, Version] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Item | Failure]:
        before, self._waiting = self._waiting, {}
        for each in self.walk:
            if isinstance(each, Failure) or self._rests(each, before):
                yield each

    def _rests(self, item: Item, before: dict[str, Version]) -> bool:
        if item.path.name.startswith(".") or item.path.name.lower().endswith(_UNFINISHED):
            return False
        if time.time() - item.version.modified / 1e9 > _OLD or before.get(item.name) == item.version:
            return True
        self._waiting[item.name] = item.version
        return False


def again_and_again(look: Callable[[], None], publish: Callable[[], None], done: Callable[[], int]) -> None:
    """Look until the user stops it; publish now and then what has come, `done` images so far."""
    published, cost, at = done(), 0.0, time.monotonic()
    with suppress(KeyboardInterrupt):
        while True:
            look()
            if done() > published and time.monotonic() - at > _SHARE * cost:
                start = time.monotonic()
                publish()
                published, at = done(), time.monotonic()
                cost = at - start
            time.sleep(LOOK_EVERY)
