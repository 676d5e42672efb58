"""A class for every pixel: images/ and masks/, in each split's folder or with each split's folder in both.

- A mask has one channel, or a palette whose indices count (not its colours), or is grey in all channels; a pixel's
  value is its class, 255 counts nowhere. Masks meant by their colours (see `mask_colours`) are for `colour_masks`.
- Classes are named by a list at the root (see `mask_legend`).
- Without names every mask is read once, when the data set is opened, to find the values: `background` and `foreground`
  for two, else `background`, `class1`, ... Classes that no mask has, and masks of nothing but 255, are flaws then.
- Two classes whose masks hold nothing but 0 and 255 (of named ones, a few masks are looked at, and more until two
  values are seen) mean background and foreground, not background and ignored; that is told as a flaw.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, is_image
from vision_tasks.data.readers.black_and_white import are_black_and_white
from vision_tasks.data.readers.mask_colours import are_coloured
from vision_tasks.data.readers.mask_files import pixel_values
from vision_tasks.data.readers.mask_layout import Folders, Pair, Pairs, images_and_masks, masks_dataset, paired
from vision_tasks.data.readers.mask_legend import MOST_CLASSES, Legend, class_list, listed_legend
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE, Masks


def _recognises(root: Path) -> bool:
    folders = images_and_masks(root) if root.is_dir() else {}
    names = class_list(root)
    return bool(folders) and (names is None or not are_coloured(_masks(folders.values()), names))


def _masks(folders: Iterable[Folders]) -> Iterator[Path]:
    return (each.masks / name for each in folders for name in files(each.masks) if is_image(name))


def _read(root: Path) -> Dataset[Masks]:
    splits = {split: paired(folders) for split, folders in images_and_masks(root).items()}
    pairs = [pair for split in splits.values() for pair in split.values()]
    names = class_list(root)
    if not names and pairs:
        return _of_found_classes(root, splits, pairs)
    legend, flaws = listed_legend(names, colours=False) if names else (Legend((), ()), [])
    masks = [pair.mask for pair in pairs]
    if legend.values == (0, 1) and are_black_and_white(masks, lambda part: _values(_seen(part)), legend.ignored):
        legend, flaws = _as_0_and_255(root, legend)
    return masks_dataset(root, READER.format, splits, legend, flaws)


def _of_found_classes(root: Path, splits: Mapping[str, Pairs], pairs: Sequence[Pair]) -> Dataset[Masks]:
    """The data set whose classes are what its masks hold."""
    seen = _seen([pair.mask for pair in pairs])
    values = _values(seen)
    if values == {0, IGNORE}:
        legend, flaws = _as_0_and_255(root, Legend(("background", "foreground"), (0, 1)))
        return masks_dataset(root, READER.format, splits, legend, flaws)
    legend = _found_classes(root, values)
    unseen = [name for name, value in zip(legend.names, legend.values, strict=True) if value not in values]
    flaws = [Flaw(root, f"class '{name}' is in no mask: it can't be learned") for name in unseen]
    empty = [pair for pair, row in zip(pairs, seen, strict=True) if row[IGNORE] and row.sum() == 1]
    flaws += [Flaw(pair.mask, "holds nothing but 255: its image counts nowhere") for pair in empty]
    negatives = frozenset(pair.image.relative_to(root).as_posix() for pair in empty)
    return replace(masks_dataset(root, READER.format, splits, legend, flaws), negatives=negatives)


def _found_classes(root: Path, values: set[int]) -> Legend:
    count = max(values - {IGNORE}, default=0) + 1
    if count < 2:
        raise UserError(f"{root}: all masks hold one class only; two or more are needed, the background included")
    if count > MOST_CLASSES:
        raise UserError(f"{root}: masks hold values up to {count - 1}; {MOST_CLASSES} classes are possible, from 0")
    names = ("background", "foreground") if count == 2 else ("background", *(f"class{i}" for i in range(1, count)))
    return Legend(names, tuple(range(count)))


def _as_0_and_255(root: Path, legend: Legend) -> tuple[Legend, list[Flaw]]:
    """Two classes of the values 0 and 1 as 0 and 255."""
    flaw = Flaw(root, f"masks hold only 0 and 255: read as {legend.names[0]} and {legend.names[1]}")
    return Legend(legend.names, (0, IGNORE), legend.ignored), [flaw]


def _values(seen: NDArray[np.bool_]) -> set[int]:
    return set(np.flatnonzero(seen.any(axis=0)).tolist())


def _seen(masks: Sequence[Path]) -> NDArray[np.bool_]:
    """Which values occur in each mask, [N,256]; none in those that can't be read, which are told of when they are used.

    Raises UserError if none can.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(_seen_in, masks))
    if rows and all(isinstance(row, DecodeError) for row in rows):
        raise UserError(f"none of {len(rows)} masks can be read; the first: {rows[0]}")
    nothing = np.zeros(256, np.bool_)
    return np.array([nothing if isinstance(row, DecodeError) else row for row in rows])


def _seen_in(mask: Path) -> NDArray[np.bool_] | DecodeError:
    try:
        return np.bincount(pixel_values(mask).ravel(), minlength=256) > 0
    except DecodeError as error:
        return error


READER: Reader[Masks] = Reader(
    format="mask-pairs",
    looks_like="images/ and masks/ of the same names, or train/, val/ and test/ with images/ and masks/ in each",
    recognises=_recognises,
    read=_read,
)
