"""Where masks lie beside their images: pairs of files by name, whatever the folders are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vision_tasks.data.dataset import Dataset, in_several_splits
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import images_by_stem, in_order, split_folders, split_name, subfolders
from vision_tasks.data.readers.class_names import read_lines
from vision_tasks.data.readers.mask_files import mask_truth
from vision_tasks.data.readers.mask_legend import Legend
from vision_tasks.errors import UserError, some
from vision_tasks.types import Masks, Sample

_ENDINGS = ("", "_L", "_P", "_mask")  # of a mask's name after its image's: CamVid, fast.ai's edition of it, Carvana


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Folders(NamedTuple):
    """Where the images and the masks of a split lie."""

    images: Path
    masks: Path


Pairs = Mapping[str, Pair]  # by the image's name without extension, sorted


def images_and_masks(root: Path) -> dict[str, Folders]:
    """images/ and masks/ of each split: `<split>/images` or `images/<split>`; "all" is the root itself.

    Raises UserError for two folders that are the same split.
    """
    if (whole := _beside(root)) is None:
        found: dict[str, Folders] = {}
        for folder in subfolders(root):
            if folders := _beside(folder):
                name = split_name(folder.name) or folder.name
                if (other := found.setdefault(name, folders)) != folders:
                    raise UserError(
                        f"{root}: {other.images.parent.name} and {folder.name} are the same split; merge or rename one"
                    )
        return in_order(found)
    within, masks = split_folders(subfolders(whole.images)), split_folders(subfolders(whole.masks))
    if alone := sorted(within.keys() ^ masks.keys()):
        raise UserError(f"{root}: {some(alone)} is in only one of images/ and masks/; add the other folder")
    return {split: Folders(folder, masks[split]) for split, folder in within.items()} or {"all": whole}


def _beside(folder: Path) -> Folders | None:
    folders = Folders(folder / "images", folder / "masks")
    return folders if all(map(Path.is_dir, folders)) else None


def paired(folders: Folders) -> dict[str, Pair]:
    """The pairs of two folders; a mask's name is its image's, perhaps with an ending such as `_mask`.

    Raises UserError for an image without a mask and a mask without an image: what else could be wrong with the names?
    """
    images, masks = images_by_stem(folders.images), images_by_stem(folders.masks)
    by_image: dict[str, str] = {}
    for stem, name in masks.items():
        if (other := by_image.setdefault(_image_stem(stem, images), name)) != name:
            raise UserError(f"{folders.masks}: {other} and {name} are masks of one image; remove or rename one")
    return matched(folders, images, by_image)


def matched(folders: Folders, images: Mapping[str, str], masks: Mapping[str, str]) -> dict[str, Pair]:
    """Pairs of `images` and `masks`, paths below their folders, which have the same keys. Raises UserError."""
    image_folder, mask_folder = folders
    if alone := [name for stem, name in images.items() if stem not in masks]:
        raise UserError(
            f"{image_folder}: {len(alone)} of {len(images)} images have no mask of the same name in "
            f"{mask_folder.name}/ ({some(alone)}); add or rename the masks"
        )
    if alone := [name for stem, name in masks.items() if stem not in images]:
        raise UserError(
            f"{mask_folder}: {len(alone)} of {len(masks)} masks have no image of the same name in {image_folder.name}/ "
            f"({some(alone)}); add the images or remove the masks"
        )
    return {stem: Pair(image_folder / name, mask_folder / masks[stem]) for stem, name in images.items()}


def _image_stem(mask: str, images: Mapping[str, str]) -> str:
    return next((stem for ending in _ENDINGS if (stem := mask.removesuffix(ending)) in images), mask)


def listed(path: Path, pairs: Pairs) -> dict[str, Pair]:
    """Those of `pairs` that a list names, in its order: by each line without folders and extension, or its first word.

    Raises UserError for a name without a pair.
    """
    stems = [_stem(line, pairs) for line in read_lines(path)]
    if missing := [stem for stem in stems if stem not in pairs]:
        raise UserError(
            f"{path}: {len(missing)} of the {len(stems)} names that it lists have no image with a mask "
            f"({some(missing)}); add the files, or take the names off the list"
        )
    return {stem: pairs[stem] for stem in stems}


def _stem(line: str, pairs: Pairs) -> str:
    """The key of the pair that a line names; its first word's stem if it names none."""
    first, whole = PurePosixPath(line.split()[0]), PurePosixPath(line)
    # Of `a/1.png b/1.png` the last part is the mask's name; that of `my 1.png` has the space in it.
    words = (whole, first) if " " in whole.name else (first, whole)
    return next((name for word in words for name in (word.name, word.stem) if name in pairs), first.stem)


def unlisted(path: Path, pairs: Iterable[str], *lists: Iterable[str]) -> list[Flaw]:
    """A flaw for those of `pairs` that none of `lists`, which lie in `path`, has."""
    named = {stem for each in lists for stem in each}
    left = [stem for stem in pairs if stem not in named]
    return [Flaw(path, f"{len(left)} images stand in no list: not read ({some(left)})")] if left else []


def masks_dataset(
    root: Path, format: str, splits: Mapping[str, Pairs], legend: Legend, flaws: Iterable[Flaw] = ()
) -> Dataset[Masks]:
    """The data set of pairs of files below `root`. Raises UserError if there are none."""
    if not any(splits.values()):
        raise UserError(f"{root}: there are no images with masks; nothing to read")
    samples = {split: _samples(root, pairs.values(), legend) for split, pairs in in_order(splits).items()}
    return Dataset(root, format, legend.names, samples, (*flaws, *in_several_splits(root, samples)))


def _samples(root: Path, pairs: Iterable[Pair], legend: Legend) -> tuple[Sample[Masks], ...]:
    return tuple(
        Sample(image.relative_to(root).as_posix(), image, partial(mask_truth, mask, legend)) for image, mask in pairs
    )
