"""Pascal VOC's masks: JPEGImages/, SegmentationClass/*.png, and splits as lists in ImageSets/Segmentation/*.txt.

0 is the background, 1 to 20 are the classes in alphabetical order, 255 is the border around objects and counts nowhere.
A list of classes at the root (see `mask_legend`) names others. Masks are palettes, or the same in colours. `trainval`
is a split only where neither train nor val is; without lists all images with a mask are one split.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import images_by_stem
from vision_tasks.data.readers.mask_colours import are_coloured
from vision_tasks.data.readers.mask_layout import Pair, Pairs, listed, masks_dataset, unlisted
from vision_tasks.data.readers.mask_legend import Legend, class_list, listed_legend, voc_colour
from vision_tasks.errors import UserError, some
from vision_tasks.types import IGNORE, Masks

_IMAGES, _MASKS = "JPEGImages", "SegmentationClass"
# fmt: off
_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


def _recognises(root: Path) -> bool:
    return (root / _IMAGES).is_dir() and (root / _MASKS).is_dir()


def _read(root: Path) -> Dataset[Masks]:
    pairs = _pairs(root)
    lists = _lists(root / "ImageSets" / "Segmentation")
    splits = {split: listed(path, pairs) for split, path in lists.items()} or {"all": pairs}
    flaws = unlisted(root / "ImageSets" / "Segmentation", pairs, *splits.values())
    legend, found = _legend(root, pairs)
    return masks_dataset(root, READER.format, splits, legend, [*flaws, *found])


def _pairs(root: Path) -> dict[str, Pair]:
    """Every mask with its image; most images have none."""
    images, masks = images_by_stem(root / _IMAGES), images_by_stem(root / _MASKS)
    if alone := [name for stem, name in masks.items() if stem not in images]:
        raise UserError(f"{root / _MASKS}: {len(alone)} masks have no image in {_IMAGES}/ ({some(alone)}); add them")
    return {stem: Pair(root / _IMAGES / images[stem], root / _MASKS / name) for stem, name in masks.items()}


def _lists(folder: Path) -> dict[str, Path]:
    found = {name: path for name in ("train", "val", "test", "trainval") if (path := folder / f"{name}.txt").is_file()}
    if {"train", "val"} & found.keys():
        found.pop("trainval", None)
    return found


def _legend(root: Path, pairs: Pairs) -> tuple[Legend, list[Flaw]]:
    names = class_list(root)
    colours = are_coloured((pair.mask for pair in pairs.values()), names)
    if names:
        return listed_legend(names, colours)
    values = tuple(range(len(_NAMES)))
    if colours:
        return Legend(_NAMES, tuple(map(voc_colour, values)), (voc_colour(IGNORE),), colours), []
    return Legend(_NAMES, values), []


READER: Reader[Masks] = Reader(
    format="pascal-voc",
    looks_like=f"{_IMAGES}/ and {_MASKS}/, splits as lists in ImageSets/Segmentation/",
    recognises=_recognises,
    read=_read,
)
