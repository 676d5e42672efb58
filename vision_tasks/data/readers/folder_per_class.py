"""Whole-image labels as folders: `<class>/<image>` or `<split>/<class>/<image>`; a class folder may have subfolders.

Classes are numbered in the order of their sorted names, over all splits together. In data with splits, every class must
have images to train on; a class folder of another split may be empty, which is told as a flaw. Names that differ only
in how their accents are stored are one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files_below, is_image, split_folders, split_name, subfolders
from vision_tasks.data.readers.class_names import composed, require_classes, require_images, whole_image_truth
from vision_tasks.errors import some
from vision_tasks.types import Labels, Sample

Listing = dict[str, list[str]]  # class -> files below its folder, POSIX

# Folders of other formats, which would look like classes here.
_NO_CLASSES = frozenset({"images", "masks", "labels", "annotations", "jpegimages", "imagesets"})


def _recognises(root: Path) -> bool:
    if not root.is_dir():
        return False
    folders = [folder for split in _split_folders(root).values() for folder in subfolders(split)]
    if any(folder.name.lower() in _NO_CLASSES for folder in folders) or all(split_name(f.name) for f in folders):
        return False
    return any(is_image(name) for folder in folders for name in files_below(folder))


def _split_folders(root: Path) -> Mapping[str, Path]:
    """Where the class folders of each split lie; "all" is the root itself."""
    folders = subfolders(root)
    # A class may be called `train`, too: a split is a folder of folders.
    return split_folders(folder for folder in folders if subfolders(folder)) or {"all": root}


def _read(root: Path) -> Dataset[Labels]:
    splits = _split_folders(root)
    listings = {split: _listing(folder) for split, folder in splits.items()}
    classes = tuple(sorted({composed(name) for listing in listings.values() for name in listing}))
    _check_classes(root, classes, splits, listings)
    flaws = [flaw for split, folder in splits.items() for flaw in _flaws(folder, listings[split])]
    if "all" not in splits:
        unread = [folder for folder in subfolders(root) if folder not in splits.values()]
        flaws += [Flaw(folder, "is no split (train, val, test): not read") for folder in unread]
    label = {name: i for i, name in enumerate(classes)}
    samples = {split: _samples(root, folder, listings[split], label) for split, folder in splits.items()}
    return Dataset(root, READER.format, classes, samples, tuple(flaws))


def _listing(folder: Path) -> Listing:
    return {below.name: list(files_below(below)) for below in subfolders(folder)}


def _check_classes(
    root: Path, classes: tuple[str, ...], splits: Mapping[str, Path], listings: Mapping[str, Listing]
) -> None:
    require_classes(root, classes)
    for split in ("train", "all"):
        filled = {composed(name) for name, paths in listings.get(split, {}).items() if any(map(is_image, paths))}
        for name in classes if split in listings else ():
            require_images(splits[split] / name, [name], filled)


def _flaws(folder: Path, listing: Listing) -> list[Flaw]:
    flaws = [
        Flaw(folder / name, f"class '{name}' has no images here")
        for name, paths in listing.items()
        if not any(map(is_image, paths))
    ]
    others = [f"{name}/{path}" for name, paths in listing.items() for path in paths if not is_image(path)]
    if others:
        flaws.append(Flaw(folder, f"{len(others)} files are not images: not read ({some(others)})"))
    return flaws


def _samples(root: Path, folder: Path, listing: Listing, label: Mapping[str, int]) -> tuple[Sample[Labels], ...]:
    start = "" if folder == root else f"{folder.name}/"
    samples: list[Sample[Labels]] = []
    for name, paths in sorted(listing.items()):
        below, class_name = folder / name, composed(name)
        truth = partial(whole_image_truth, (label[class_name],), len(label))
        samples += [
            Sample(f"{start}{name}/{path}", below / path, truth, class_name) for path in paths if is_image(path)
        ]
    return tuple(samples)


READER: Reader[Labels] = Reader(
    format="folder-per-class",
    looks_like="a folder for each class, or train/, val/ and test/ with a folder for each class",
    recognises=_recognises,
    read=_read,
)
