"""Trimaps of the Oxford-IIIT Pet data set (Parkhi et al.: Cats and dogs, CVPR 2012): images/, annotations/trimaps/,
annotations/trainval.txt, test.txt.

In the files 1 is the pet, 2 the background, 3 the border, which counts nowhere. Without the two lists, all images with
a trimap are one split.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.folders import images_by_stem
from vision_tasks.data.readers.mask_layout import Pair, listed, masks_dataset, unlisted
from vision_tasks.data.readers.mask_legend import Legend
from vision_tasks.types import Masks

_LEGEND = Legend(("background", "pet"), (2, 1), (3,))


def _recognises(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "annotations" / "trimaps").is_dir()


def _read(root: Path) -> Dataset[Masks]:
    annotations = root / "annotations"
    images, masks = images_by_stem(root / "images"), images_by_stem(annotations / "trimaps")
    pairs = {
        stem: Pair(root / "images" / name, annotations / "trimaps" / masks[stem])
        for stem, name in images.items()
        if stem in masks
    }
    lists = {name: path for name in ("trainval", "test") if (path := annotations / f"{name}.txt").is_file()}
    splits = {split: listed(path, pairs) for split, path in lists.items()} or {"all": pairs}
    return masks_dataset(root, READER.format, splits, _LEGEND, unlisted(annotations, pairs, *splits.values()))


READER: Reader[Masks] = Reader(
    format="oxford-pets",
    looks_like="images/, annotations/trimaps/, and annotations/trainval.txt and test.txt",
    recognises=_recognises,
    read=_read,
)
