"""Images in tar and zip archives, read in place: nothing is unpacked, so nothing can land outside.

A zip and a plain tar are read anywhere; a compressed tar from first to last, one image at a time. Of a zip the list of
its members is in memory, as it comes before them all.

Members that another tool would write outside, links, devices, and what unpacks to more than any image, are failures.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from vision_tasks.data.folders import is_image as has_image_name
from vision_tasks.data.limits import most_bytes
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.sources.folder import has_image_start
from vision_tasks.engine.sources.item import Item
from vision_tasks.engine.store import Version
from vision_tasks.types import Failure

Found = Item | Failure | None  # None = a file that is no image

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RuntimeError,
           NotImplementedError, OSError)  # fmt: skip
_USUAL = 2**28  # bytes: files up to it may be packed as tightly as they like
_TIGHTEST = 200  # times: larger ones that are packed tighter are made to fill memory
_PLAIN = (0, 0o10)  # Unix's type of a file in a zip: unknown, a file


def is_archive(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def archive_items(path: Path, name: str) -> Iterator[Found]:
    """The files in an archive, folders left out, in its order; `name` is its own."""
    try:
        status = path.stat()
        version = Version.of(status)
        yield from (_zip if path.name.lower().endswith(".zip") else _tar)(path, name, version)
    except _BROKEN as error:
        yield Failure(name, path, f"damaged, or not an archive ({error}); what follows is lost")


def _zip(path: Path, name: str, version: Version) -> Iterator[Found]:
    archive = zipfile.ZipFile(path)  # closed when the last of its images is gone
    for info in archive.infolist():
        if info.is_dir():
            continue
        kind = info.external_attr >> 28
        wrong = _wrong(info.filename, kind in _PLAIN, info.file_size, max(1, info.compress_size))
        yield _found(path, name, info.filename, version, wrong, partial(archive.open, info), passing=False)


def _tar(path: Path, name: str, version: Version) -> Iterator[Found]:
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115  # closed when the last of its images is gone
        compressed = False
    except tarfile.ReadError:
        archive, compressed = tarfile.open(path), True  # noqa: SIM115
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # else memory grows with them
        if info.isdir():
            continue
        plain = info.isfile() and not info.issparse()
        packed = version.bytes if compressed else info.size
        wrong = _wrong(info.name, plain, info.size, packed)
        opener = partial(_opened, archive, info) if compressed else partial(_Part, path, info.offset_data, info.size)
        yield _found(path, name, info.name, version, wrong, opener, compressed)
        if compressed and wrong and info.size > _USUAL:
            yield Failure(name, path, "what follows a member that was refused for its size is not read")
            return


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None  # it is one of a plain file
    return file


class _Part:
    """Bytes of a file on the disk, read by whoever wants them, at once with others."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self.path, self.at, self.end = path, offset, offset + size

    def read(self, size: int = -1) -> bytes:
        length = self.end - self.at if size < 0 else min(size, self.end - self.at)
        with self.path.open("rb") as file:
            file.seek(self.at)
            data = file.read(length)
        self.at += length
        if len(data) < length:
            raise EOFError("the archive is cut short")
        return data


def _found(
    path: Path, name: str, member: str, version: Version, wrong: str, opener: Callable[[], IO[bytes] | _Part],
    passing: bool,
) -> Found:  # fmt: skip
    """What a member is; a compressed tar can't go back to its first bytes."""
    inner = str(PurePosixPath(member))
    if wrong:
        return Failure(f"{name}/{member}", path / member, wrong)
    if has_image_name(PurePosixPath(inner).name):
        return Item(f"{name}/{inner}", path / inner, version, partial(_read, opener, b""), passing=passing)
    try:
        file = opener()
        head = file.read(16)
    except _BROKEN:
        return None
    if not has_image_start(head):
        return None
    rest = (lambda: file) if passing else opener
    return Item(
        f"{name}/{inner}", path / inner, version, partial(_read, rest, head if passing else b""), passing=passing
    )


def _read(opener: Callable[[], IO[bytes] | _Part], head: bytes) -> bytes:
    try:
        return head + opener().read()
    except _BROKEN as error:
        raise DecodeError(f"can't be read from its archive: {error}") from error


def _wrong(member: str, plain: bool, size: int, packed: int) -> str:
    """Why a member is refused; empty if it isn't."""
    place = PureWindowsPath(member)  # the stricter rules: both slashes separate, and a drive is absolute
    if place.anchor or ".." in place.parts:
        return "its name leads out of the archive; refused"
    if not plain:
        return "a link or a device; refused"
    if size > most_bytes():
        return f"unpacks to {size} bytes; raise VISION_TASKS_MAX_BYTES if it is meant to be"
    if size > _USUAL and size > _TIGHTEST * packed:
        return f"unpacks to {size} bytes from {packed}, as no image does; refused"
    return ""
