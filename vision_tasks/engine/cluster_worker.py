"""A worker of a cluster: a model, and what it says of the images that are sent here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from operator import not_
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Any

from vision_tasks.engine.cluster_messages import Answer, Order
from vision_tasks.engine.predict import Here
from vision_tasks.engine.sources import Item
from vision_tasks.engine.store import Known, Outcome, Outcomes, Version
from vision_tasks.errors import UserError

Begin = Callable[[Path, Outcomes], Here[Any]]  # work that writes pictures into a folder, and keeps outcomes

_TABLE_BYTES = 2**26  # of pictures


@dataclass
class Collected:
    """Outcomes that are sent away; of no image anything is known before."""

    outcomes: list[Outcome] = field(default_factory=list)

    def known(self, image: str) -> Known | None:
        return None

    def keep(self, image: str, version: Version) -> None:
        """Nothing is known that could hold."""

    def add(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


class Worker:
    """Called with a part of the images, it gives tables of answers. `ready` loads the model, at the first call."""

    def __init__(self, ready: Callable[[], Begin]) -> None:
        # Nothing is loaded yet: what ends a call is told to the user, what ends a worker's start is not.
        self._begin = cache(ready)

    def __call__(self, part: Any) -> Iterator[Any]:
        """A table of one row with lists for the fields of `Order`; tables with those of `Answer`, in any order."""
        row = part.to_pylist()[0]
        orders = list(map(Order, row["image"], row["content"]))
        try:
            yield from map(_table, _together(self._answers(orders)))
        except UserError as problem:
            yield _table([Answer("", [], str(problem))])

    def _answers(self, orders: Sequence[Order]) -> Iterator[Answer]:
        items = [order.item() for order in orders]
        here = [order.content is not None or item.is_as_found() for order, item in zip(orders, items, strict=True)]
        yield from map(_missing, compress(items, map(not_, here)))
        with TemporaryDirectory(prefix="vision-tasks-") as folder:
            collected = Collected()
            work = self._begin()(Path(folder), collected)
            work.all(compress(items, here))
            for outcome in collected.outcomes:
                yield Answer.of(outcome, _pictures(work, outcome))


def _missing(item: Item) -> Answer:
    reason = "is gone, or was replaced, since it was found"
    problem = f"{item.path} is another file on {gethostname()}, or none; machines must know images by the same paths"
    return Answer.of(Outcome(item.name, item.version, "", reason=reason), [])._replace(problem=problem)


def _together(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    """As many as fit into a table."""
    found: list[Answer] = []
    size = 0
    for answer in answers:
        found.append(answer)
        size += sum(map(len, answer.pictures))
        if size > _TABLE_BYTES:
            yield found
            found, size = [], 0
    if found:
        yield found


def _table(answers: Sequence[Answer]) -> Any:
    import pyarrow

    columns = {"outcome": pyarrow.string(), "pictures": pyarrow.list_(pyarrow.large_binary()),
               "problem": pyarrow.string()}  # fmt: skip
    return pyarrow.Table.from_pylist([answer._asdict() for answer in answers], pyarrow.schema(columns))


def _pictures(work: Here[Any], outcome: Outcome) -> list[bytes]:
    """The files of an image that was predicted."""
    if outcome.reason is not None:
        return []
    writer = work.writer
    return [(writer.output.folder / picture.file(outcome.image)).read_bytes() for picture in writer.pictures]
