"""The folder of caches on the disk, one file for the images of a folder at one detail; it outlives the run.

The folder as a whole stays within a share of the disk: files that were used longest ago make room.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock

from vision_tasks.data.caches.cache import Setting
from vision_tasks.data.caches.file import CacheFile, UnusableError
from vision_tasks.download import cache_folder
from vision_tasks.errors import UserError, some

SHARE = 0.25  # of what is free or taken by caches


def disk_folder() -> Path:
    """Where they lie."""
    return cache_folder() / "decoded"


def free_on_disk() -> int:
    """Bytes that caches can take. Raises OSError where the folder can't be made."""
    folder = disk_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free + sum(map(_taken, folder.glob("*.cache")))


def open_on_disk(
    files: Sequence[Path], setting: Setting, images: int, budget: int, needed: int
) -> tuple[CacheFile, list[str]]:
    """The cache of `files`, made if there is none that can be used, and what was found or done on the way.

    It takes up to `budget` bytes, and `needed` as far as one can tell. Raises UserError where it can't be written.
    """
    path = disk_folder() / _name(files, setting)
    with _telling(), FileLock(path.parent / ".lock"):
        remarks = _make_room(path, max(budget, round(SHARE * free_on_disk())) - min(needed, budget))
        file, problem = _joined(path, images, budget)
        return file, remarks + problem


def require_disk() -> None:
    """Raises UserError where no cache can be kept on the disk."""
    with _telling():
        free_on_disk()


@contextmanager
def _telling() -> Iterator[None]:
    """What is wrong with the disk, in the user's words."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"no cache can be kept in {disk_folder()} ({error.strerror or error}); use --cache none, or name another "
            "folder by VISION_TASKS_CACHE"
        ) from error


def _joined(path: Path, images: int, budget: int) -> tuple[CacheFile, list[str]]:
    """The file at `path` if it is whole and large enough, else a new one."""
    problem = []
    if path.exists():
        try:
            file = CacheFile.join(path, budget, images)
        except UnusableError as reason:
            problem = [f"the cache {path} {reason}; it is built anew"]
            path.unlink()
        else:
            os.utime(path)  # used now, also if nothing will be added
            return file, []
    return CacheFile.create(path, images, budget), problem


def _make_room(path: Path, most: int) -> list[str]:
    """Remove other caches, oldest first, until they take `most` bytes."""
    removed = []
    others = sorted((other for other in path.parent.glob("*.cache") if other != path), key=_last_used)
    while others and sum(map(_taken, others)) > most:
        removed.append(others.pop(0))
        removed[-1].unlink()
    names = some(other.name for other in removed)
    return [f"removed from {path.parent}, to make room: {names}"] if removed else []


def _name(files: Sequence[Path], setting: Setting) -> str:
    """Of the innermost folder that holds all files: samples may become more or fewer."""
    root = Path(os.path.commonpath({str(file.parent.absolute()) for file in files}))
    digest = blake2b(repr((os.fsencode(root), setting)).encode(), digest_size=8).hexdigest()
    return f"{root.name or 'images'}-{digest}.cache"


def _taken(path: Path) -> int:
    return path.stat().st_blocks * 512  # a sparse file's size says nothing


def _last_used(path: Path) -> float:
    return path.stat().st_mtime
