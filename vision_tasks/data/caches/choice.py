"""Where decoded images are kept: in memory if they fit there, else on the disk, else nowhere; and within which budget.

How large they are is estimated from a few. Unless it is given, the budget is half of the memory that is available, or
on the disk a quarter of what is free.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vision_tasks.data.caches.cache import ImageCache, Setting
from vision_tasks.data.caches.disk import SHARE, disk_folder, free_on_disk, open_on_disk, require_disk
from vision_tasks.data.caches.file import CacheFile
from vision_tasks.data.caches.memory import available_memory
from vision_tasks.data.decode import read_image
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import Sample

_MEMORY_SHARE = 0.5  # of what is available: the network and others need some, too
_LOOKED_AT = 16  # images, to estimate all
_SECONDS = 1.0  # that this may take
_IN_WORDS = {"ram": "in memory", "disk": "on disk"}
_REMEDY = "raise --cache-budget, or use --cache none"


@dataclass(frozen=True)
class Estimate:
    """What all images would take up, judged by some."""

    images: int
    total: int  # bytes of decoded pixels
    smallest: int  # of those that were looked at


def make_cache(
    place: Literal["auto", "none", "ram", "disk"],
    budget: int | None,
    samples: Sequence[Sample[Any]],
    setting: Setting,
) -> tuple[ImageCache | None, list[str]]:
    """A cache for `samples`, most of which are decoded by `setting`, or None; and what to tell the user.

    `budget` is in bytes of pixels; "auto" takes the first place where all images fit. Raises UserError where a place is
    asked for that can't be had, or has less room than one image needs.
    """
    if place == "none":
        return None, []
    files = [sample.path for sample in samples if sample.pixels is None and sample.data is None]
    needed = estimate_size(files, setting)
    if not needed.total:
        return None, ["no cache: none of the images is a file of its own that can be read"]
    if place == "auto":
        rooms = {name: room_for(name, budget) for name in _IN_WORDS}
        fitting = [name for name, room in rooms.items() if needed.total <= room]
        if not fitting:
            return None, [f"no cache: about {in_words(needed.total)} of decoded images, but budgets of "
                          f"{in_words(rooms['ram'])} in memory and {in_words(rooms['disk'])} on disk"]  # fmt: skip
        try:
            return _cache_at(fitting[0], rooms[fitting[0]], files, setting, needed)
        except UserError as problem:  # who did not ask for a cache can do without
            return None, [str(problem)]
    _require_place(place)
    room = room_for(place, budget)
    if room < needed.smallest:
        raise UserError(f"a cache of {in_words(room)} can't hold one image of {in_words(needed.smallest)}; {_REMEDY}")
    return _cache_at(place, room, files, setting, needed)


def estimate_size(files: Sequence[Path], setting: Setting) -> Estimate:
    """Decodes some images, evenly spread, at least one that can be read, and not for long."""
    sizes: list[int] = []
    started = time.monotonic()
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        with suppress(DecodeError, MemoryError):
            sizes.append(read_image(file, *setting).pixels.nbytes)
        if sizes and time.monotonic() - started > _SECONDS:
            break
    mean = sum(sizes) / max(1, len(sizes))
    return Estimate(len(files), round(mean * len(files)), min(sizes, default=0))


def room_for(place: str, budget: int | None) -> int:
    """Bytes that a cache may take: the `budget` as far as there is so much, or a share of what there is."""
    there, share = (_in_memory(), _MEMORY_SHARE) if place == "ram" else (_on_disk(), SHARE)
    return round(there * share) if budget is None else min(budget, there)


def in_words(size: float) -> str:
    """Bytes for people, such as 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _cache_at(
    place: str, room: int, files: Sequence[Path], setting: Setting, needed: Estimate
) -> tuple[ImageCache, list[str]]:
    remarks: list[str] = []
    if place == "ram":
        file = CacheFile.in_memory(needed.images, room)
    else:
        file, remarks = open_on_disk(files, setting, needed.images, room, needed.total)
    where = f" ({disk_folder()})" if place == "disk" else ""
    fits = "they fit" if needed.total <= room else "what does not fit is decoded each time"
    told = (
        f"cache {_IN_WORDS[place]}{where}: about {in_words(needed.total)} of decoded images, "
        f"budget {in_words(room)}: {fits}"
    )
    return ImageCache(file), [*remarks, told]


def _require_place(place: str) -> None:
    """Raises UserError where this system has no such place."""
    if place == "ram" and not hasattr(os, "memfd_create"):
        raise UserError("--cache ram needs Linux; use --cache disk")
    if place == "disk" and not hasattr(os, "pwrite"):
        raise UserError("--cache disk needs Linux or macOS; use --cache none")
    if place == "disk":
        require_disk()


def _in_memory() -> int:
    return available_memory() if hasattr(os, "memfd_create") else 0


def _on_disk() -> int:
    """0 also where the folder can't be made: what asks for it is told why by `require_disk`."""
    with suppress(OSError):
        return free_on_disk() if hasattr(os, "pwrite") else 0
    return 0
