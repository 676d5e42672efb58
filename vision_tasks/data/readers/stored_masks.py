"""Stored predictions of masks, of any tool: the folder that `evaluate --predictions` scores.

A mask is an image of one channel, or with a palette, of its original's size: each value is the index of a class in the
order of the data set's classes, 255 is none of them. Of two classes, masks that hold nothing but 0 and 255 (a few are
looked at, and more until two values are seen) mean the first and the second; that is said.

The folder is what `predict` wrote, whose `masks/` is taken, or any other with masks, in subfolders or not. A mask
belongs to the image whose path, with its extension or without, has the longest end in common with the mask's path
without extension, folder by folder: of `test/images/1.jpg` these may be masks, the first is taken:
`test/images/1.jpg.png`, `images/1.png`, `1.jpg.png`, `1.png`. Every image that is scored needs one; masks of other
images are left out, and named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.folders import files_below, is_image
from vision_tasks.data.readers.black_and_white import are_black_and_white
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.mask_files import mask_truth, pixel_values
from vision_tasks.data.readers.mask_legend import Legend
from vision_tasks.data.readers.path_ends import ends
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError, some
from vision_tasks.types import IGNORE, Masks, Sample


class StoredMasks(NamedTuple):
    """The prediction of each sample that was asked for, and what the user must be told about the folder."""

    predictions: Sequence[Masks]  # each is read when it is asked for: together they may not fit into memory
    remarks: list[str]


@dataclass(frozen=True)
class _Files(Sequence[Masks]):
    """Masks in files; raises UserError, naming the file, for one that can't be read and for unknown values."""

    paths: Sequence[Path]
    legend: Legend

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: Any) -> Any:
        with _no_prediction_left_out(self.paths[position]):
            return mask_truth(self.paths[position], self.legend, None)


def read_stored_masks(path: Path, dataset: Dataset[Masks], samples: Sequence[Sample[Masks]]) -> StoredMasks:
    """The prediction for each of `samples`, in their order.

    Raises UserError for what the module's description does not allow; of values, when a prediction is asked for.
    """
    folder = path / "masks" if (path / "masks").is_dir() else path
    if not folder.is_dir():
        raise UserError(f"{path}: is no folder; predictions are a folder with a mask for each image")
    names = [name for name in files_below(folder) if is_image(name)]
    every = [sample.id for split in dataset.splits.values() for sample in split]
    asked = [sample.id for sample in samples]
    found, left_out = _matched(folder, names, dict.fromkeys([*every, *asked]), asked)
    if missing := [each for each in asked if each not in found]:
        raise UserError(
            f"{folder}: no mask for {len(missing)} of {len(asked)} images: {some(missing)}. Predict them, or choose "
            "the split that was predicted"
        )
    paths = [folder / found[each] for each in asked]
    legend, remarks = _legend(folder, paths, dataset.classes)
    if left_out:
        remarks.append(f"{folder}: left out {len(left_out)} masks of no image that is scored: {some(left_out)}")
    return StoredMasks(_Files(paths, legend), remarks)


def _matched(
    folder: Path, names: Iterable[str], every: Iterable[str], asked: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """The file of each sample id that has one, and the files that are left."""
    wanted, by_end = frozenset(asked), _by_end(every)
    fitting: dict[str, dict[str, int]] = {}  # sample id -> file -> length of the common end
    left_out: list[str] = []
    for name in names:
        length, ids = _meant(name, by_end)
        meant = [each for each in ids if each in wanted]
        if len(meant) > 1:
            raise UserError(f"{folder / name}: may be of {' or '.join(meant[:2])}; put it into a folder of that name")
        if meant:
            fitting.setdefault(meant[0], {})[name] = length
        else:
            left_out.append(name)
    found = {each: _longest(folder, each, lengths) for each, lengths in fitting.items()}
    return found, left_out + [name for each, lengths in fitting.items() for name in lengths if name != found[each]]


def _longest(folder: Path, image: str, lengths: Mapping[str, int]) -> str:
    first, *others = sorted(lengths, key=lambda name: -lengths[name])
    if others and lengths[others[0]] == lengths[first]:
        raise UserError(f"{folder}: {first} and {others[0]} are both masks of {image}; keep one of them")
    return first


def _by_end(ids: Iterable[str]) -> dict[str, dict[str, None]]:
    """Ids by all ends of their paths, with extension and without."""
    found: dict[str, dict[str, None]] = {}
    for each in ids:
        for form in (composed(each), composed(_without_extension(each))):
            for end in ends(form):
                found.setdefault(end, {})[each] = None
    return found


def _meant(name: str, by_end: Mapping[str, Mapping[str, None]]) -> tuple[int, Iterable[str]]:
    """The samples with the longest end in common with a mask's path, and its length."""
    for end in ends(composed(_without_extension(name))):
        if end in by_end:
            return len(end), by_end[end]
    return 0, ()


def _without_extension(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122  # a Path for every mask costs more than all the rest


def _legend(folder: Path, paths: Sequence[Path], classes: tuple[str, ...]) -> tuple[Legend, list[str]]:
    """What the values of the masks mean, and what must be said of it."""
    if len(classes) == 2 and are_black_and_white(paths, _values):
        said = f"{folder}: masks hold only 0 and 255: read as {classes[0]} and {classes[1]}"
        return Legend(classes, (0, IGNORE)), [said]
    return Legend(classes, tuple(range(len(classes)))), []


def _values(paths: Iterable[Path]) -> set[int]:
    """The values that occur in masks."""
    found: set[int] = set()
    for path in paths:
        with _no_prediction_left_out(path):
            found.update(np.flatnonzero(np.bincount(pixel_values(path).ravel())).tolist())
    return found


@contextmanager
def _no_prediction_left_out(path: Path) -> Iterator[None]:
    """An image whose truth can't be read is left out; a prediction that can't be read is to be mended."""
    try:
        yield
    except DecodeError as error:
        raise UserError(f"{path}: can't be read as a mask; write it again") from error
