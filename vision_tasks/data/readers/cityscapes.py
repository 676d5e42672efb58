"""Cityscapes (Cordts et al., CVPR 2016): leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/*_gtFine_labelIds.png.

The 19 classes of its benchmark are numbered as its trainIds are; all other ids count nowhere, the licence plate's -1,
which a byte holds as 255, included. Test masks as they are published are all void: that split can't be scored. A split
without a folder of masks is left out, which is told.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, split_folders, subfolders
from vision_tasks.data.readers.mask_layout import Folders, Pair, Pairs, masks_dataset, matched
from vision_tasks.data.readers.mask_legend import Legend
from vision_tasks.types import Masks

_IMAGES, _MASKS = "leftImg8bit", "gtFine"
_IMAGE_END, _MASK_END = "_leftImg8bit.png", "_gtFine_labelIds.png"
# fmt: off
_CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # name -> id
# fmt: on
_HIGHEST = 33
_IGNORED = tuple(sorted(set(range(_HIGHEST + 1)) - set(_CLASSES.values())))


def _recognises(root: Path) -> bool:
    return (root / _IMAGES).is_dir() and (root / _MASKS).is_dir()


def _read(root: Path) -> Dataset[Masks]:
    splits: dict[str, Pairs] = {}
    flaws: list[Flaw] = []
    for split, folder in split_folders(subfolders(root / _IMAGES)).items():
        if (masks := root / _MASKS / folder.name).is_dir():
            splits[split] = _pairs(Folders(folder, masks))
        else:
            flaws.append(Flaw(folder, f"has no masks in {_MASKS}/{folder.name}: left out"))
    legend = Legend(tuple(_CLASSES), tuple(_CLASSES.values()), _IGNORED)
    return masks_dataset(root, READER.format, splits, legend, flaws)


def _pairs(folders: Folders) -> dict[str, Pair]:
    return matched(folders, _by_stem(folders.images, _IMAGE_END), _by_stem(folders.masks, _MASK_END))


def _by_stem(folder: Path, ending: str) -> dict[str, str]:
    """Files of every city by what comes before `ending`."""
    names = (f"{city.name}/{name}" for city in subfolders(folder) for name in files(city))
    return {name.removesuffix(ending): name for name in names if name.endswith(ending)}


READER: Reader[Masks] = Reader(
    format="cityscapes",
    looks_like=f"{_IMAGES}/train/CITY/ and {_MASKS}/train/CITY/*{_MASK_END}",
    recognises=_recognises,
    read=_read,
)
