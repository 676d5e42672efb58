"""What readers share of looking through folders: which files are images, and what splits are called.

Listings come from one `scandir` a folder, without a `stat` for every file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from vision_tasks.errors import UserError

V = TypeVar("V")

# fmt: off
IMAGE_EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".mpo", ".jp2", ".avif",
})
# fmt: on

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def is_image(name: str) -> bool:
    """By extension; hidden files (`._photo.jpg`, as macOS leaves them) are none."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS and not name.startswith(".")  # noqa: PTH122


def split_name(name: str) -> str | None:
    """The split that a folder or list of this name holds (`valid` and `validation` are `val`), or None."""
    return _SPLITS.get(name.lower())


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted; links to folders too, hidden ones not."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))]
    return [folder / name for name in sorted(names)]


def files(folder: Path) -> list[str]:
    """The names of the files in `folder`, sorted; hidden ones not."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))


def files_below(folder: Path) -> Iterator[str]:
    """Paths relative to `folder` (POSIX) of the files in it and in its subfolders; hidden ones not."""
    yield from files(folder)
    for below in subfolders(folder):
        if not below.is_symlink():  # a link may lead back up
            yield from (f"{below.name}/{path}" for path in files_below(below))


def images_by_stem(folder: Path) -> dict[str, str]:
    """The images in `folder`: name without extension -> name, sorted.

    Raises UserError for two images that differ in their extension only: a label could belong to either.
    """
    found: dict[str, str] = {}
    for name in files(folder):  # os.path and no Path: this runs for every file of a data set
        if is_image(name) and (other := found.setdefault(os.path.splitext(name)[0], name)) != name:  # noqa: PTH122
            raise UserError(f"{folder}: {other} and {name} have the same name; rename or remove one of them")
    return found


def split_folders(folders: Iterable[Path]) -> dict[str, Path]:
    """Those of `folders` that are called like a split, by the split's name.

    Raises UserError if two are the same split (`val` and `valid`).
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if (name := split_name(folder.name)) and (other := found.setdefault(name, folder)) != folder:
            raise UserError(f"{folder.parent}: {other.name} and {folder.name} are the same split; merge or rename one")
    return in_order(found)


def in_order(splits: Mapping[str, V]) -> dict[str, V]:
    """`splits` as they are spoken of: train, val, test, then others by name."""
    first = ("train", "val", "test")
    return dict(sorted(splits.items(), key=lambda item: (first.index(item[0]) if item[0] in first else 3, item[0])))
