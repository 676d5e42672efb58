"""One image of a source: its name, what tells whether it has changed, and how it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vision_tasks.data.header import read_bytes
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.store import GONE, Version
from vision_tasks.files import sha256_of
from vision_tasks.warp import Pixels


@dataclass(frozen=True)
class Item:
    """An image. `pixels` is for those that are no files of their own; all others have bytes."""

    name: str  # relative to its source, with slashes, without ".."; unique in a walk
    path: Path  # of the file that it is, or that it is in, followed by its name in there
    version: Version
    member: Callable[[], bytes] | None = None  # reads the file where it is a part of another; raises DecodeError
    pixels: Callable[[], Pixels] | None = None  # uint8 [h,w,3] RGB; raises DecodeError
    passing: bool = False  # must be fetched before the walk goes on: what it is in is read from first to last

    def fetched(self) -> Item:
        """The same, as it can be read at any time. Raises DecodeError."""
        if not self.passing:
            return self
        if self.pixels is not None:
            pixels = self.pixels()
            return replace(self, pixels=lambda: pixels, passing=False)
        data = self.read()
        return replace(self, member=lambda: data, passing=False)

    def is_as_found(self) -> bool:
        """Whether its file is still the one that was found, where the image is a file of its own."""
        try:
            return Version.of(self.path.stat()) == self.version
        except OSError:
            return self.version == GONE

    def read(self) -> bytes:
        """The bytes of the image file. Raises DecodeError."""
        if self.member is not None:
            return self.member()
        return read_bytes(self.path)

    def sha256(self) -> str:
        """Of the file, or where there is none of the pixels. Raises DecodeError."""
        if self.pixels is not None or self.member is not None:
            return digest(self.pixels().data if self.pixels is not None else self.read())
        try:
            return sha256_of(self.path)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from error


def digest(content: bytes | memoryview) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
