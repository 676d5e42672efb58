"""Where the JSON files of COCO's form and their images lie, and what is made of ids, whatever is annotated.

Files, the first of these that a folder has:

- `<split>/_annotations.coco.json` (or `annotations.json`, `labels.json`) in split folders, images beside it;
- `annotations/instances_<split>.json` (or `<split>.json`), a year after the split's name as in `train2017`;
- the same at the root, or one `annotations.json`, `_annotations.coco.json` or `labels.json` for data without splits.

Images are looked for in the folder that is named like the split, in `images/` (also by split), in `data/` and at the
root; `file_name` may have folders.

- Category ids become classes in their order, whatever they start from and whatever gaps they have; files of several
  splits must agree on them. A category without any annotation is a class too, unless it is the super category of
  others: that is none, and told as a flaw.
- The images of a split are in the order of their ids: it is by this that COCO's scores rank predictions of equal score.
- An annotation for an image that the file doesn't list is dropped, one of an unknown category is an error.
- An image that is listed and missing is told as a flaw and left out; so is a split without any of its images.
- A bare file is one split. Its images need not be there, since stored predictions can be scored without: none is left
  out, which of them is missing is told.
- No image is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Generic

from vision_tasks.data.dataset import Dataset, in_several_splits
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, in_order, is_image, split_folders, split_name, subfolders
from vision_tasks.data.readers.coco_file import CocoAnnotation, CocoCategory, CocoFile, CocoImage, read_coco
from vision_tasks.data.readers.listed_images import ImageFolder
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError, some
from vision_tasks.types import Sample, T

_NAMES = ("_annotations.coco.json", "annotations.json", "labels.json")  # of a file that is alone in its folder
_FOLDER = "annotations"
_PREFIX = "instances_"
_WHOLE = "all"
LOOKS_LIKE = (
    "train/_annotations.coco.json beside images, annotations/instances_train.json with train/ or "
    "images/train/, annotations.json with images/, or such a JSON file itself"
)


@dataclass(frozen=True)
class Source:
    """Where a split is annotated, and the folders in which its images may be."""

    split: str
    path: Path
    below: tuple[str, ...]


@dataclass
class Part(Generic[T]):
    """What was read of one split."""

    samples: list[Sample[T]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # sample id -> the file's id of the image
    negatives: set[str] = field(default_factory=set)
    flaws: list[Flaw] = field(default_factory=list)


# Fills a part with the images that are kept of a file, given their sample ids by the file's, the folder that those are
# relative to, and the categories that are classes.
Take = Callable[[Part[T], CocoFile, Mapping[int, str], Path, Sequence[CocoCategory]], None]


def recognises(path: Path) -> bool:
    return path.suffix.lower() == ".json" if path.is_file() else bool(_sources(path))


def read_dataset(path: Path, format: str, take: Take[T], outlines: bool = False) -> Dataset[T]:
    """The data set in a folder or a bare file, whose annotations `take` understands. Raises UserError."""
    bare = path.is_file()
    root, sources = _beside(path) if bare else (path, _sources(path))
    read = _read_files(sources, outlines)
    categories, flaws = _classes(list(read.values()))
    folder = ImageFolder(root)
    parts: dict[str, Part[T]] = {}
    for source, file in read.items():
        part = parts[source.split] = Part()
        take(part, file, _image_ids(source, file, folder, bare, part.flaws), root, categories)
    flaws += [flaw for part in parts.values() for flaw in part.flaws]
    splits = {split: tuple(part.samples) for split, part in parts.items() if part.samples or bare}
    if not splits:
        looked = some([f"{place or '.'}/" for source in sources for place in source.below], 8)
        raise UserError(f"{path}: none of the images that its JSON files list is in {looked}; add them")
    if not bare:
        flaws += _unlisted(root, splits.values())
    return Dataset(
        path,
        format,
        tuple(category.name for category in categories),
        splits,
        (*flaws, *in_several_splits(path, splits)),
        class_ids=tuple(category.id for category in categories),
        image_ids={id: number for part in reversed(parts.values()) for id, number in part.numbers.items()},
        negatives=frozenset().union(*(part.negatives for part in parts.values())),
    )


def annotations_of(file: CocoFile, kept: Mapping[int, str], flaws: list[Flaw]) -> Iterator[CocoAnnotation]:
    """The annotations of images that are `kept`; those of images that the file doesn't list become `flaws`."""
    for annotation in file.annotations:
        if annotation.image in kept:
            yield annotation
        elif annotation.image not in file.images:
            said = f"{annotation.at}: is for image {annotation.image}, which 'images' doesn't list: dropped"
            flaws.append(Flaw(file.path, said, of_truth=True))


def _read_files(sources: Iterable[Source], outlines: bool) -> dict[Source, CocoFile]:
    read, mistakes = {}, Mistakes()
    for source in sources:
        try:
            read[source] = read_coco(source.path, outlines)
        except UserError as error:
            mistakes.add(error)
    mistakes.check()
    return read


def _sources(root: Path) -> list[Source]:
    """The annotation files of a folder, in the order of their splits."""
    within = split_folders(subfolders(root))
    found = {split: path for split, folder in within.items() if (path := _alone(folder))}
    if found:
        return [Source(split, path, _places(path.parent.name)) for split, path in found.items()]
    places = [root / _FOLDER, root] if (root / _FOLDER).is_dir() else [root]
    listed = next(filter(None, map(_by_split, places)), {})
    if not listed and (path := next(filter(None, map(_alone, reversed(places))), None)):
        listed = {_WHOLE: path}
    return [Source(split, path, _image_places(split, path)) for split, path in listed.items()]


def _alone(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _by_split(folder: Path) -> dict[str, Path]:
    """The file of each split in `folder`; one file of instances alone may have any name."""
    found: dict[str, Path] = {}
    for name in files(folder):
        split = _split(Path(name).stem) if name.lower().endswith(".json") else None
        if split and (other := found.setdefault(split, folder / name)).name != name:
            raise UserError(f"{folder}: {other.name} and {name} are the same split; give one of them as --data")
    if len(found) == 1 and split_name(*found) is None:
        return dict(zip([_WHOLE], found.values(), strict=True))
    return in_order(found)


def _split(stem: str) -> str | None:
    """The split whose file is called so, None for files of other purpose."""
    name = stem.removeprefix(_PREFIX)
    return split_name(_without_year(name)) or (name if name != stem else None)


def _without_year(name: str) -> str:
    return name.rstrip("0123456789").rstrip("_-")


def _beside(path: Path) -> tuple[Path, list[Source]]:
    """For a bare file, the folder to which its images' paths are relative, and the file as the one split there is."""
    within = path.parent.name.lower() == _FOLDER
    root = path.parent.parent if within else path.parent
    owner = path.parent.name if path.name in _NAMES else path.stem.removeprefix(_PREFIX)
    split = split_name(_without_year(owner)) or _WHOLE
    beside = (path.parent.name,) if within else ()
    return root, [Source(split, path, (*_image_places(split, path), *beside))]


def _image_places(split: str, path: Path) -> tuple[str, ...]:
    named = path.stem.removeprefix(_PREFIX)
    return tuple(
        dict.fromkeys([*_places(named), *_places(split), *(_places("valid") if split == "val" else ()), *_places("")])
    )


def _places(folder: str) -> tuple[str, ...]:
    """Where images of a split may be whose folder is called `folder`."""
    return tuple(place.strip("/") for place in (folder, f"{folder}/images", f"images/{folder}", f"{folder}/data"))


def _classes(read: Iterable[CocoFile]) -> tuple[list[CocoCategory], list[Flaw]]:
    """The categories of all files that are classes, in the order of their ids. Raises UserError if files disagree."""
    known: dict[int | str, tuple[CocoCategory, Path]] = {}  # by id, and by name
    used: set[int] = set()
    for file in read:
        used |= {annotation.category for annotation in file.annotations}
        for category in file.categories.values():
            for key in (category.id, category.name):
                other, where = known.setdefault(key, (category, file.path))
                if other[:2] != category[:2]:
                    raise UserError(
                        f"{file.path}: category {category.id} is '{category.name}', but in {where} category {other.id} "
                        f"is '{other.name}'; splits need the same ids for the same classes"
                    )
    categories = {category.id: (category, where) for category, where in known.values()}
    classes, flaws = [], []
    for number, (category, where) in sorted(categories.items()):
        groups = (other.group for other, _ in categories.values() if other.id != number)
        if number not in used and category.name in groups:
            flaws.append(
                Flaw(where, f"category {number} '{category.name}' has no annotation and only groups others: no class")
            )
        else:
            classes.append(category)
    return classes, flaws


def _image_ids(source: Source, file: CocoFile, folder: ImageFolder, bare: bool, flaws: list[Flaw]) -> dict[int, str]:
    """Sample ids, which are paths below the folder, by the ids of the images that are kept."""
    kept: dict[int, str] = {}
    missing: list[CocoImage] = []
    owner: dict[str, int] = {}
    below = [place for place in source.below if (folder.root / place).is_dir()]
    mistakes = Mistakes()
    for image in sorted(file.images.values()):
        try:
            found = folder.find(image.name, below)
        except UserError as error:
            mistakes.add(f"{file.path}: file_name of image {image.id}: {error}")
            continue
        if found is None:
            missing.append(image)
        if found or bare:
            kept[image.id] = found or PureWindowsPath(image.name).as_posix()
            if (other := owner.setdefault(kept[image.id], image.id)) != image.id:
                mistakes.add(f"{file.path}: the images {other} and {image.id} are both {image.name}; join them")
    mistakes.check()
    flaws += _missing(source, file, missing, bare)
    return kept


def _missing(source: Source, file: CocoFile, missing: list[CocoImage], bare: bool) -> list[Flaw]:
    if missing and len(missing) == len(file.images):
        looked = some([f"{place or '.'}/" for place in source.below], len(source.below))
        left = "only stored predictions can be scored" if bare else f"split '{source.split}' is left out"
        return [Flaw(file.path, f"lists {len(missing)} images, none of which is in {looked}: {left}")]
    left = "only a stored prediction of it can be scored" if bare else "left out"
    return [Flaw(file.path, f"image {image.id}, {image.name}, is listed but missing: {left}") for image in missing]


def _unlisted(root: Path, splits: Iterable[Iterable[Sample[Any]]]) -> list[Flaw]:
    """Images beside those that were found which no file lists."""
    listed: dict[Path, set[str]] = {}
    for samples in splits:
        for sample in samples:
            listed.setdefault(sample.path.parent, set()).add(sample.path.name)
    flaws = []
    for folder, names in listed.items():
        if others := [name for name in files(folder) if is_image(name) and name not in names]:
            flaws.append(Flaw(folder, f"{len(others)} images are in no annotation file: not read ({some(others)})"))
    return flaws
