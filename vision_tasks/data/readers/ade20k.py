"""ADE20K as the scene parsing benchmark has it (Zhou et al., CVPR 2017): images/training/, annotations/training/,
objectInfo150.txt.

Values 1 to 150 are classes, 0 is everything else and counts nowhere. A class is called by the first of its synonyms.
"""

from __future__ import annotations

import re
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.readers.class_names import read_lines
from vision_tasks.data.readers.mask_layout import Folders, masks_dataset, paired
from vision_tasks.data.readers.mask_legend import Entry, Legend, legend_of
from vision_tasks.errors import UserError
from vision_tasks.types import Masks

_SPLITS = {"train": "training", "val": "validation"}
_NAMES = "objectInfo150.txt"
_OTHER = 0


def _recognises(root: Path) -> bool:
    return bool(_folders(root))


def _folders(root: Path) -> dict[str, Folders]:
    found = {split: Folders(root / "images" / name, root / "annotations" / name) for split, name in _SPLITS.items()}
    return {split: folders for split, folders in found.items() if all(map(Path.is_dir, folders))}


def _read(root: Path) -> Dataset[Masks]:
    splits = {split: paired(folders) for split, folders in _folders(root).items()}
    return masks_dataset(root, READER.format, splits, _legend(root / _NAMES))


def _legend(path: Path) -> Legend:
    if not path.is_file():
        raise UserError(f"{path}: is missing; it names the classes, get it from the data set's archive")
    rows = [line.split("\t") for line in read_lines(path)]
    entries = [Entry(re.split("[,;]", row[-1])[0].strip(), int(row[0]), None) for row in rows if row[0].isdecimal()]
    return legend_of(path, entries, colours=False, ignored=(_OTHER,))


READER: Reader[Masks] = Reader(
    format="ade20k",
    looks_like=f"images/training/, annotations/training/ and {_NAMES}",
    recognises=_recognises,
    read=_read,
)
