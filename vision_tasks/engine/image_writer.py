"""What is written of one image: its pictures, each in one step, and then its row; or why there is none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.device import is_out_of_memory
from vision_tasks.engine.earlier_outputs import PARTIAL
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.store import Outcome, Outcomes, Version
from vision_tasks.tasks.base import Output, Picture, Predicted, Task
from vision_tasks.types import Size, T
from vision_tasks.warp import Pixels

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class ImageWriter(Generic[T]):
    """Writes images; what has become of them is kept in the store, all since the last time at once."""

    task: Task[T]
    output: Output
    pictures: Sequence[Picture[T]]
    store: Outcomes
    remedy: str  # for images that are too large for memory
    _outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is done in the block is kept at its end, however it ends."""
        try:
            yield
        finally:
            outcomes, self._outcomes = self._outcomes, []
            self.store.add(outcomes)

    @contextmanager
    def one(self, reading: Reading) -> Iterator[None]:
        """An image. A file that has vanished meanwhile, or beside which nothing can be written, doesn't end the run."""
        reason = ""
        try:
            yield
        except DecodeError as error:
            reason = str(error)
        except OSError as error:
            if error.errno in _FULL:
                raise
            reason = error.strerror or str(error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = f"too large for this machine's memory{self.remedy}"
        if reason:
            self.fail(reading.item.name, reading.item.version, reason)

    def fail(self, image: str, version: Version, reason: str) -> None:
        """An image that can't be predicted; what an earlier call wrote of it was of another file."""
        for picture in self.pictures:
            with suppress(OSError):
                (self.output.folder / picture.file(image)).unlink()
        self.note(image, version, reason)

    def note(self, image: str, version: Version, reason: str) -> None:
        """What never was an image; its name may be one that must not become a path."""
        self._outcomes.append(Outcome(image, version, "", reason=reason))

    def take(self, outcome: Outcome, pictures: Sequence[bytes]) -> None:
        """What another machine has come to: of a predicted image with its files, one for each of our pictures.

        Raises OSError.
        """
        if outcome.reason is not None:
            self.fail(outcome.image, outcome.version, outcome.reason)
            return
        for picture, content in zip(self.pictures, pictures, strict=True):
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._partial.write_bytes(content)
            self._place(picture, outcome.image)
        self._outcomes.append(outcome)

    def write(
        self, reading: Reading, size: Size, prediction: T, pixels: Callable[[], Pixels], drawn: T | None = None
    ) -> None:
        """Write an image in all formats. Raises DecodeError and OSError."""
        name = reading.item.name
        rows = self.task.record(prediction, name, self.output)
        image = Predicted(name, size, reading.sha256, pixels, prediction, rows, drawn)
        for picture in self.pictures:
            picture.write(image, self.output, self._partial)
            self._place(picture, name)
        self._outcomes.append(Outcome(name, reading.item.version, reading.sha256, size, rows))

    @property
    def _partial(self) -> Path:
        """Where a picture lies until it is whole."""
        return self.output.folder / PARTIAL / "picture"

    def _place(self, picture: Picture[T], image: str) -> None:
        place = self.output.folder / picture.file(image)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._partial.replace(place)
