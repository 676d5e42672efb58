"""A class for every pixel: images/ and masks/, or <split>/images and <split>/masks, paired by name without extension.

- A mask has one channel, or a palette whose indices count (not its colours); a pixel's value is its class, 255 counts
  nowhere.
- Class names come from `classes.txt` or `classes.csv` at the root: a name a line, `0 Sky` with the value before it, or
  the first column of the CSV. A last class called void, unlabelled or ignore counts nowhere either. Values may have
  gaps: classes are numbered in the order of their values.
- Without names every mask is read once, when the data set is opened, to find the values: `background` and `foreground`
  for two, else `background`, `class1`, ...
- Two classes whose masks hold nothing but 0 and 255 (of named ones, a few masks are looked at) mean background and
  foreground, not background and ignored; that is told as a flaw.
- A mask of another size than its image is an error when its truth is asked for.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import images_by_stem, in_order, split_name, subfolders
from vision_tasks.data.limits import most_pixels
from vision_tasks.data.readers.class_names import numbered, read_lines
from vision_tasks.errors import UserError, some
from vision_tasks.types import IGNORE, Masks, Sample, Size

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
MOST_CLASSES = 254
_UNKNOWN = 254  # what the lookup table makes of a value that is no class; never a class index, of which 253 is the last
_LOOKED_AT = 32  # masks, to tell 0 and 255 from background and ignored

Pairs = list[tuple[Path, Path]]  # image, mask


@dataclass(frozen=True)
class _Classes:
    """Names, and the class index of every pixel value."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # pixel value of each class
    ignored: tuple[int, ...] = ()  # pixel values that count nowhere, besides 255

    def table(self) -> NDArray[np.uint8]:
        """Pixel value -> class index [256]."""
        table = np.full(256, _UNKNOWN, dtype=np.uint8)
        table[[IGNORE, *self.ignored]] = IGNORE
        table[list(self.values)] = np.arange(len(self.values))
        return table


def _recognises(root: Path) -> bool:
    return root.is_dir() and bool(_split_folders(root))


def _split_folders(root: Path) -> dict[str, Path]:
    """Where images/ and masks/ of each split lie; "all" is the root itself."""
    if _is_pair(root):
        return {"all": root}
    found: dict[str, Path] = {}
    for folder in filter(_is_pair, subfolders(root)):
        name = split_name(folder.name) or folder.name
        if name in found:
            raise UserError(f"{root}: {found[name].name} and {folder.name} are the same split; merge or rename one")
        found[name] = folder
    return in_order(found)


def _is_pair(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _read(root: Path) -> Dataset[Masks]:
    folders = _split_folders(root)
    pairs = {split: _pairs(folder) for split, folder in folders.items()}
    if not any(pairs.values()):
        raise UserError(f"{root}: images/ and masks/ are empty; nothing to read")
    masks = [mask for split in pairs.values() for _, mask in split]
    named = _named_classes(root)
    classes, flaws = _found_classes(root, masks) if named is None else _two_as_0_and_255(root, named, masks)
    table = classes.table()
    splits: dict[str, tuple[Sample[Masks], ...]] = {}
    for split, folder in folders.items():
        start = (folder / "images").relative_to(root).as_posix()
        splits[split] = tuple(
            Sample(f"{start}/{image.name}", image, partial(_truth, mask, classes.names, table))
            for image, mask in pairs[split]
        )
    return Dataset(root, READER.format, classes.names, splits, tuple(flaws))


def _pairs(folder: Path) -> Pairs:
    image_folder, mask_folder = folder / "images", folder / "masks"
    images, masks = images_by_stem(image_folder), images_by_stem(mask_folder)
    alone = [name for stem, name in images.items() if stem not in masks]
    if alone:
        raise UserError(
            f"{image_folder}: {len(alone)} of {len(images)} images have no mask of the same name in masks/ "
            f"({some(alone)}); add or rename the masks"
        )
    alone = [name for stem, name in masks.items() if stem not in images]
    if alone:
        raise UserError(
            f"{mask_folder}: {len(alone)} of {len(masks)} masks have no image of the same name in images/ "
            f"({some(alone)}); add the images or remove the masks"
        )
    return [(image_folder / name, mask_folder / masks[stem]) for stem, name in images.items()]


def _truth(path: Path, classes: tuple[str, ...], table: NDArray[np.uint8], size: Size | None) -> Masks:
    raw = _pixel_values(path)
    if size and raw.shape != size:
        raise UserError(
            f"{path}: is {raw.shape[1]}x{raw.shape[0]} pixels, but its image is {size[1]}x{size[0]}; mend one of them"
        )
    index = cv2.LUT(raw, table)
    if (index == _UNKNOWN).any():
        counts = np.bincount(raw.ravel(), minlength=256)
        wrong = [f"{value} ({counts[value]} pixels)" for value in np.flatnonzero(counts) if table[value] == _UNKNOWN]
        raise UserError(
            f"{path}: has the values {some(wrong)}, which are none of the {len(classes)} classes; mend the mask or the "
            "class list, or use 255 for what is to be ignored"
        )
    return Masks(torch.from_numpy(np.asarray(index, dtype=np.uint8))[None], len(classes))


def _pixel_values(path: Path) -> NDArray[np.uint8]:
    """The mask as it is stored, [H,W]; raises UserError if it isn't one value a pixel, or can't be read."""
    try:
        # Pillow and not OpenCV, which turns palettes into colours.
        with Image.open(path) as opened:
            if opened.width * opened.height > most_pixels():
                raise UserError(f"{path}: is larger than {most_pixels()} pixels; raise VISION_TASKS_MAX_PIXELS for it")
            mode, values = opened.mode, np.asarray(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: can't be read as a mask: {error}") from error
    if values.ndim != 2 or mode == "F":
        raise UserError(f"{path}: is a colour image ({mode}); a mask has one channel, the class of each pixel")
    if values.dtype.itemsize > 1 and values.size and (values.min() < 0 or values.max() > 255):
        raise UserError(f"{path}: has values up to {values.max()}; a mask has classes up to {MOST_CLASSES - 1}, or 255")
    return np.ascontiguousarray(values, dtype=np.uint8)


def _named_classes(root: Path) -> _Classes | None:
    """What the class list at the root says, or None without one."""
    path = next((path for name in ("classes.txt", "classes.csv") if (path := root / name).is_file()), None)
    if path is None:
        return None
    lines = read_lines(path)
    entries = _csv_entries(lines) if path.suffix == ".csv" else numbered(lines)
    counts = Counter(str(value) for value, _ in entries), Counter(name for _, name in entries)
    repeated = [item for counter in counts for item, count in counter.items() if count > 1]
    if repeated:
        raise UserError(f"{path}: {some(repeated)} stands in it more than once; every class needs its own")
    return _classes(path, sorted(entries))


def _csv_entries(lines: Iterable[str]) -> list[tuple[int, str]]:
    names = [row[0].strip() for row in csv.reader(lines) if row]
    if names and names[0].casefold() in {"name", "class"}:
        names = names[1:]
    return list(enumerate(names))


def _classes(path: Path, entries: list[tuple[int, str]]) -> _Classes:
    """Classes out of (value, name), sorted by value."""
    ignored: tuple[int, ...] = ()
    if entries and entries[-1][1].casefold() in VOID_NAMES:
        ignored = (entries.pop()[0],)
    if len(entries) < 2:
        raise UserError(
            f"{path}: lists {len(entries)} classes; segmentation needs two or more, the background included"
        )
    if len(entries) > MOST_CLASSES or max([*ignored, entries[-1][0]]) > IGNORE or entries[-1][0] == IGNORE:
        raise UserError(f"{path}: masks hold {MOST_CLASSES} classes of values below 255 at most; merge some classes")
    return _Classes(tuple(name for _, name in entries), tuple(value for value, _ in entries), ignored)


def _found_classes(root: Path, masks: list[Path]) -> tuple[_Classes, list[Flaw]]:
    """Classes by what the masks hold."""
    values = _values(masks)
    if values == {0, IGNORE}:
        return _two_as_0_and_255(root, _Classes(("background", "foreground"), (0, 1)), masks)
    count = max(values - {IGNORE}, default=0) + 1
    if count < 2:
        raise UserError(f"{root}: all masks hold one class only; segmentation needs two or more")
    if count > MOST_CLASSES:
        raise UserError(f"{root}: masks hold values up to {count - 1}; {MOST_CLASSES} classes are possible, from 0")
    names = ("background", "foreground") if count == 2 else ("background", *(f"class{i}" for i in range(1, count)))
    return _Classes(names, tuple(range(count))), []


def _two_as_0_and_255(root: Path, classes: _Classes, masks: list[Path]) -> tuple[_Classes, list[Flaw]]:
    """Two classes of values 0 and 1 become 0 and 255 if that is all that some masks hold."""
    if classes.values != (0, 1) or classes.ignored or _values(masks[:: -(-len(masks) // _LOOKED_AT)]) != {0, IGNORE}:
        return classes, []
    flaw = Flaw(root, f"masks hold only 0 and 255: read as {classes.names[0]} and {classes.names[1]}")
    return _Classes(classes.names, (0, IGNORE)), [flaw]


def _values(masks: list[Path]) -> set[int]:
    """Every pixel value that occurs in `masks`."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = np.logical_or.reduce(list(pool.map(_values_in, masks)))
    return set(np.flatnonzero(seen).tolist())


def _values_in(mask: Path) -> NDArray[np.bool_]:
    return np.bincount(_pixel_values(mask).ravel(), minlength=256) > 0


READER: Reader[Masks] = Reader(
    format="mask-pairs",
    looks_like="images/ and masks/ of the same names, or train/, val/ and test/ with images/ and masks/ in each",
    recognises=_recognises,
    read=_read,
)
