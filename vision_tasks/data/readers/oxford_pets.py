"""The Oxford-IIIT Pet data set (Parkhi et al.: Cats and dogs, CVPR 2012): images/, annotations/trainval.txt, test.txt.

The breed is in the file's name, `german_shorthaired_12.jpg`; the lists have a name without extension at the start of
each line. Without the two lists, all images of annotations/list.txt are one split.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import images_by_stem
from vision_tasks.data.readers.class_names import read_lines, require_classes, require_images, whole_image_truth
from vision_tasks.errors import UserError, some
from vision_tasks.types import Labels, Sample

_LISTS = ("trainval.txt", "test.txt")


def _recognises(root: Path) -> bool:
    return (root / "images").is_dir() and bool(_lists(root / "annotations"))


def _lists(folder: Path) -> dict[str, Path]:
    """The list of each split."""
    found = {path.stem: path for name in _LISTS if (path := folder / name).is_file()}
    whole = folder / "list.txt"
    return found or ({"all": whole} if whole.is_file() else {})


def _read(root: Path) -> Dataset[Labels]:
    folder = root / "images"
    images = images_by_stem(folder)
    lists = _lists(root / "annotations")
    names = {split: [line.split()[0] for line in read_lines(path)] for split, path in lists.items()}
    for split, listed in names.items():
        _check_images(folder, lists[split], listed, images)
    classes = tuple(sorted({_breed(name) for listed in names.values() for name in listed}))
    _check_classes(root, classes, names)
    splits = {split: _samples(folder, [images[name] for name in listed], classes) for split, listed in names.items()}
    every = {name for listed in names.values() for name in listed}
    unlisted = [name for stem, name in images.items() if stem not in every]
    flaws = (Flaw(folder, f"{len(unlisted)} images stand in no list: not read ({some(unlisted)})"),) if unlisted else ()
    return Dataset(root, READER.format, classes, splits, flaws)


def _breed(name: str) -> str:
    return name.rpartition("_")[0]


def _check_images(folder: Path, path: Path, names: list[str], images: dict[str, str]) -> None:
    if odd := [name for name in names if not _breed(name)]:
        raise UserError(f"{path}: '{odd[0]}' has no breed in its name, such as beagle_12; mend the list")
    if missing := [name for name in names if name not in images]:
        raise UserError(
            f"{folder}: {len(missing)} of the images listed in {path.name} are not here ({some(missing)}); add the "
            "files, or take the names off the list"
        )


def _check_classes(root: Path, classes: tuple[str, ...], names: dict[str, list[str]]) -> None:
    require_classes(root, classes)
    for split in ("trainval", "all"):
        if split in names:
            require_images(root, classes, {_breed(name) for name in names[split]})


def _samples(folder: Path, names: list[str], classes: tuple[str, ...]) -> tuple[Sample[Labels], ...]:
    number = {name: i for i, name in enumerate(classes)}
    breeds = [_breed(name) for name in names]
    return tuple(
        Sample(f"images/{name}", folder / name, partial(whole_image_truth, (number[breed],), len(classes)), breed)
        for name, breed in zip(names, breeds, strict=True)
    )


READER: Reader[Labels] = Reader(
    format="oxford-pets",
    looks_like="images/ with the breed in each name, and annotations/trainval.txt and test.txt",
    recognises=_recognises,
    read=_read,
)
