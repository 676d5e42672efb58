"""Unpacking archives that strangers made: nothing lands outside, nothing but files, no more than was agreed."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple

from vision_tasks.errors import UserError

CHUNK = 1 << 20  # bytes
_PADDING = 16 * CHUNK  # behind a tar's last member; tar itself makes 10 KiB
_PLAIN = (0, 0o4, 0o10)  # Unix's type of a file that is unknown, a folder, a file


class _Member(NamedTuple):
    name: str
    content: IO[bytes] | None  # None = a folder


def extract(archive: Path, folder: Path, kind: str, limit: int) -> None:
    """Unpack a `zip` or `tar` (compressed or not) as the new `folder`, which appears in one step when it is complete.

    Only plain files and folders are unpacked, at most `limit` bytes. Raises UserError, and leaves nothing behind, for a
    damaged archive, members that would lie outside, links, devices, and for what unpacks to more.
    """
    with appearing(folder) as staging:
        unpack(archive, staging, kind, limit)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` at the end of the block; if that fails, it is gone.

    For one process at a time: what a killed one left behind is cleared away.
    """
    staging = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive: Path, folder: Path, kind: str, limit: int) -> None:
    """`extract` into a folder that is there already; what was unpacked before a problem was met stays in it.

    Raises OSError where it can't be written, or the archive not be read.
    """
    left = limit
    members = {"zip": _zip_members, "tar": _tar_members}[kind]
    try:
        for name, content in members(archive):
            target = folder / _inside(archive, name)
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                while chunk := content.read(CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise UserError(f"{archive}: unpacks to more than {limit} bytes; refused")
                    file.write(chunk)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise _damaged(archive, kind, error) from None
    except OSError as error:
        if error.errno is not None:  # the system's; those of gzip and bz2 have no number
            raise
        raise _damaged(archive, kind, error) from None


def _damaged(archive: Path, kind: str, error: Exception) -> UserError:
    return UserError(f"{archive}: damaged, or not a {kind} archive ({error}); delete it to fetch it again")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.external_attr >> 28 not in _PLAIN:
                raise _not_plain(archive, info.filename)
            yield _Member(info.filename, None if info.is_dir() else opened.open(info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if not (info.isfile() or info.isdir()):
                raise _not_plain(archive, info.name)
            yield _Member(info.name, opened.extractfile(info))
        _read_to_the_end(archive, opened)


def _read_to_the_end(archive: Path, opened: tarfile.TarFile) -> None:
    """Checksums of compressed data come last, behind the padding that follows the last member."""
    assert opened.fileobj is not None
    for _ in range(_PADDING // CHUNK + 1):
        if not opened.fileobj.read(CHUNK):
            return
    raise UserError(f"{archive}: goes on for more than {_PADDING} bytes behind its last member; refused")


def _not_plain(archive: Path, name: str) -> UserError:
    return UserError(f"{archive}: member {name!r} is a link or a device; refused")


def _inside(archive: Path, name: str) -> str:
    # Windows' rules are the stricter ones: both slashes separate, and a drive is absolute.
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts:
        raise UserError(f"{archive}: member {name!r} would be written outside; refused")
    return name
