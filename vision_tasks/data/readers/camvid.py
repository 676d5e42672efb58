"""CamVid (Brostow, Fauqueur and Cipolla: Semantic object classes in video, 2008) in the layouts that are passed around.

- SegNet's: `train/` and `trainannot/` (val, test alike) with masks of values. A list `train.txt` of lines
  `image mask` at the root says which pairs belong, and in which order. Without a list of classes they are SegNet's
  eleven, and the value 11 is void.
- Kaggle's: `train/` and `train_labels/` with masks of colours, `NAME_L.png`, and `class_dict.csv`.
- fast.ai's: `images/` and `labels/NAME_P.png` with masks of values, `codes.txt`, and `valid.txt`, which lists val.
- the authors': `701_StillsRaw_full/` and `LabeledApproved_full/NAME_L.png` with masks of colours, `label_colors.txt`.

Whether masks have values or colours is seen by the first of them (see `mask_colours`). Other data sets in these layouts
are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import in_order, split_name, subfolders
from vision_tasks.data.readers.mask_colours import are_coloured
from vision_tasks.data.readers.mask_layout import Folders, Pairs, listed, masks_dataset, paired, unlisted
from vision_tasks.data.readers.mask_legend import Legend, class_list, listed_legend
from vision_tasks.errors import UserError
from vision_tasks.types import Masks

_ENDINGS = ("annot", "_labels")  # of a split's folder of masks
_WHOLE = (("701_StillsRaw_full", "LabeledApproved_full"), ("images", "labels"))
# Badrinarayanan, Kendall and Cipolla: SegNet (2017), as their published masks number the classes.
# fmt: off
_SEGNET = Legend((
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
), tuple(range(11)), (11,))
# fmt: on


def _recognises(root: Path) -> bool:
    return root.is_dir() and bool(_folders(root))


def _folders(root: Path) -> dict[str, Folders]:
    there = {folder.name: folder for folder in subfolders(root)}
    found: dict[str, Folders] = {}
    for name, folder in there.items():
        masks = next((there[name + ending] for ending in _ENDINGS if name + ending in there), None)
        if masks is None or (split := split_name(name)) is None:
            continue
        if (other := found.setdefault(split, Folders(folder, masks)).images) != folder:
            raise UserError(f"{root}: {other.name} and {name} are the same split; merge or rename one")
    if found:
        return in_order(found)
    whole = next((pair for pair in _WHOLE if set(pair) <= there.keys()), None)
    return {"all": Folders(*(there[name] for name in whole))} if whole and class_list(root) else {}


def _read(root: Path) -> Dataset[Masks]:
    splits: dict[str, Pairs] = {}
    flaws: list[Flaw] = []
    for split, folders in _folders(root).items():
        pairs = splits[split] = paired(folders)
        if (path := root / f"{folders.images.name}.txt").is_file():
            splits[split] = listed(path, pairs)
            flaws += unlisted(path, pairs, splits[split])
    if "all" in splits and (path := root / "valid.txt").is_file():
        val = listed(path, splits["all"])
        splits = {"train": {stem: pair for stem, pair in splits["all"].items() if stem not in val}, "val": val}
    legend, found = _legend(root, splits)
    return masks_dataset(root, READER.format, splits, legend, [*flaws, *found])


def _legend(root: Path, splits: Mapping[str, Pairs]) -> tuple[Legend, list[Flaw]]:
    names = class_list(root)
    colours = are_coloured((pair.mask for pairs in splits.values() for pair in pairs.values()), names)
    if names:
        return listed_legend(names, colours)
    if colours:
        raise UserError(f"{root}: the masks have colours; add a class_dict.csv of name,r,g,b that says what they mean")
    return _SEGNET, []


READER: Reader[Masks] = Reader(
    format="camvid",
    looks_like="train/ with trainannot/ or train_labels/, or images/ and labels/ with codes.txt, as CamVid's editions",
    recognises=_recognises,
    read=_read,
)
