"""Files on the disk: folders, walked in the order of names, and which of the files are images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from vision_tasks.data.folders import is_image as has_image_name
from vision_tasks.engine.sources.item import Item
from vision_tasks.engine.store import GONE, Version
from vision_tasks.types import Failure

# The first bytes of the formats that are read, for images without an image's extension.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P4", b"P5", b"P6",
               b"\0\0\0\x0cjP  ")  # fmt: skip


def absolute(path: str | Path) -> Path:
    """Without "..": files are written under names, and none may lead out of the output's folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # pathlib keeps ".."


def files_below(folder: Path, without: Path | None) -> Iterator[Path | Failure]:
    """All files of a folder and of those in it, except `without`; links to folders are not followed.

    Memory holds the names of one folder, and of the folders around it. One that can't be listed is a failure.
    """
    unread: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unread.append):
        folders.sort()
        if without is not None:
            folders[:] = [name for name in folders if absolute(Path(place, name)) != without]
        yield from (Path(place, name) for name in sorted(files))
        yield from _unread(unread)
    yield from _unread(unread)


def _unread(errors: list[OSError]) -> Iterator[Failure]:
    while errors:
        error = errors.pop()
        yield Failure(str(error.filename), Path(error.filename), error.strerror or str(error))


def as_item(path: Path, name: str, named: bool = False) -> Item | None:
    """A file as an image, None if it is none: neither `named` so, by its extension too, nor by its first bytes."""
    named = named or has_image_name(path.name)
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):  # a pipe or device would block, or never end
            return None
        if not named and not has_image_start(_start(path)):
            return None
    except OSError:
        return Item(name, path, GONE) if named else None
    return Item(name, path, Version.of(status))


def has_image_start(head: bytes) -> bool:
    """Whether 16 bytes are the first of an image."""
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] == b"ftypavif"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
