"""A class for every pixel, as a colour: images/ and masks/ as `mask_pairs` has them, and a list of classes.

- The list at the root says name,r,g,b of every class (see `mask_legend`); without colours in it they are Pascal VOC's.
- Any kind of mask is read as its colours, palettes and grey too; alpha counts nothing. Masks meant by their values are
  recognised as `mask-pairs` (see `mask_colours`).
- A colour that is no class is an error: masks must be lossless (no JPEG) and must not have been smoothed or resized.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.readers.mask_layout import images_and_masks, masks_dataset, paired
from vision_tasks.data.readers.mask_legend import class_list, listed_legend
from vision_tasks.errors import UserError
from vision_tasks.types import Masks


def _recognises(root: Path) -> bool:
    return root.is_dir() and bool(images_and_masks(root)) and class_list(root) is not None


def _read(root: Path) -> Dataset[Masks]:
    names = class_list(root)
    if names is None:
        raise UserError(f"{root}: no list names the classes; add a classes.csv of name,r,g,b")
    splits = {split: paired(folders) for split, folders in images_and_masks(root).items()}
    return masks_dataset(root, READER.format, splits, *listed_legend(names, colours=True))


READER: Reader[Masks] = Reader(
    format="colour-masks",
    looks_like="the same with colours as masks, and a classes.csv of name,r,g,b",
    recognises=_recognises,
    read=_read,
)
