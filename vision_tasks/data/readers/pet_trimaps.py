"""Trimaps of the Oxford-IIIT Pet data set (Parkhi et al.: Cats and dogs, CVPR 2012): images/, annotations/trimaps/,
annotations/trainval.txt, test.txt.

In the files 1 is the pet, 2 the background, 3 the border, which counts nowhere. Without the two lists, all images with
a trimap are one split. Images without a trimap, and trimaps without an image, are left out, which is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import images_by_stem
from vision_tasks.data.readers.mask_layout import Folders, Pair, listed, masks_dataset, unlisted
from vision_tasks.data.readers.mask_legend import Legend
from vision_tasks.errors import some
from vision_tasks.types import Masks

_LEGEND = Legend(("background", "pet"), (2, 1), (3,))


def _recognises(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "annotations" / "trimaps").is_dir()


def _read(root: Path) -> Dataset[Masks]:
    annotations = root / "annotations"
    folders = Folders(root / "images", annotations / "trimaps")
    images, masks = map(images_by_stem, folders)
    pairs = {
        stem: Pair(folders.images / name, folders.masks / masks[stem]) for stem, name in images.items() if stem in masks
    }
    lists = {name: path for name in ("trainval", "test") if (path := annotations / f"{name}.txt").is_file()}
    splits = {split: listed(path, pairs) for split, path in lists.items()} or {"all": pairs}
    flaws = _alone(folders.images, "images have no trimap", images, masks)
    flaws += _alone(folders.masks, "trimaps have no image", masks, images)
    flaws += unlisted(annotations, pairs, *splits.values())
    return masks_dataset(root, READER.format, splits, _LEGEND, flaws)


def _alone(folder: Path, what: str, names: Mapping[str, str], others: Mapping[str, str]) -> list[Flaw]:
    """A flaw for those of `names` that `others` lacks."""
    alone = [name for stem, name in names.items() if stem not in others]
    return [Flaw(folder, f"{len(alone)} of {len(names)} {what}: left out ({some(alone)})")] if alone else []


READER: Reader[Masks] = Reader(
    format="oxford-pets",
    looks_like="images/, annotations/trimaps/, and annotations/trainval.txt and test.txt",
    recognises=_recognises,
    read=_read,
)
