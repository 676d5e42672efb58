"""Boxes as COCO's JSON has them: xywh in pixel edges, any number of images to a file.

Files, the first of these that a folder has:

- `<split>/_annotations.coco.json` (or `annotations.json`, `labels.json`) in split folders, images beside it;
- `annotations/instances_<split>.json` (or `<split>.json`), a year after the split's name as in `train2017`;
- the same at the root, or one `annotations.json`, `_annotations.coco.json` or `labels.json` for data without splits.

Images are looked for in the folder that is named like the split, in `images/` (also by split), in `data/` and at the
root; `file_name` may have folders.

- Category ids become classes in their order, whatever they start from and whatever gaps they have; files of several
  splits must agree on them. A category without any box is a class too, unless it is the super category of others: that
  is none, and told as a flaw.
- Boxes are checked as in every format (`checked_boxes`). `iscrowd` and `area` are kept. An annotation for an image that
  the file doesn't list is dropped, one of an unknown category is an error.
- The images of a split are in the order of their ids: it is by this that COCO's scores rank predictions of equal score.
- An image that is listed and missing is told as a flaw and left out; so is a split without any of its images.
- A bare file is one split. Its images need not be there, since stored predictions can be scored without: none is left
  out, which of them is missing is told.
- An image without annotations is declared to show nothing; one with crowds alone gives nothing to learn from either.
- No image is opened, unless the file doesn't give its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath

from vision_tasks.data.dataset import Dataset, Reader, in_several_splits
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, in_order, is_image, split_folders, split_name, subfolders
from vision_tasks.data.readers.checked_boxes import BoxList, pixel_truth, size_of
from vision_tasks.data.readers.coco_file import CocoAnnotation, CocoCategory, CocoFile, CocoImage, read_coco
from vision_tasks.data.readers.listed_images import ImageFolder
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError, some
from vision_tasks.types import Boxes, Sample

_NAMES = ("_annotations.coco.json", "annotations.json", "labels.json")  # of a file that is alone in its folder
_FOLDER = "annotations"
_PREFIX = "instances_"
_WHOLE = "all"


@dataclass(frozen=True)
class _Source:
    """Where a split is annotated, and the folders in which its images may be."""

    split: str
    path: Path
    below: tuple[str, ...]


@dataclass
class _Part:
    """What was read of one split."""

    samples: list[Sample[Boxes]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # sample id -> the file's id of the image
    negatives: set[str] = field(default_factory=set)
    flaws: list[Flaw] = field(default_factory=list)


def _recognises(path: Path) -> bool:
    return path.suffix.lower() == ".json" if path.is_file() else bool(_sources(path))


def _read(path: Path) -> Dataset[Boxes]:
    bare = path.is_file()
    root, sources = _beside(path) if bare else (path, _sources(path))
    read = _read_files(sources)
    categories, flaws = _classes(list(read.values()))
    label = {category.id: i for i, category in enumerate(categories)}
    folder = ImageFolder(root)
    parts = {source.split: _part(source, file, folder, label, bare) for source, file in read.items()}
    flaws += [flaw for part in parts.values() for flaw in part.flaws]
    splits = {split: tuple(part.samples) for split, part in parts.items() if part.samples or bare}
    if not splits:
        looked = some([f"{place or '.'}/" for source in sources for place in source.below], 8)
        raise UserError(f"{path}: none of the images that its JSON files list is in {looked}; add them")
    if not bare:
        flaws += _unlisted(root, splits.values())
    return Dataset(
        path,
        READER.format,
        tuple(category.name for category in categories),
        splits,
        (*flaws, *in_several_splits(path, splits)),
        class_ids=tuple(label),
        image_ids={id: number for part in reversed(parts.values()) for id, number in part.numbers.items()},
        negatives=frozenset().union(*(part.negatives for part in parts.values())),
    )


def _read_files(sources: Iterable[_Source]) -> dict[_Source, CocoFile]:
    read, mistakes = {}, Mistakes()
    for source in sources:
        try:
            read[source] = read_coco(source.path)
        except UserError as error:
            mistakes.add(error)
    mistakes.check()
    return read


def _sources(root: Path) -> list[_Source]:
    """The annotation files of a folder, in the order of their splits."""
    within = split_folders(subfolders(root))
    found = {split: path for split, folder in within.items() if (path := _alone(folder))}
    if found:
        return [_Source(split, path, _places(path.parent.name)) for split, path in found.items()]
    places = [root / _FOLDER, root] if (root / _FOLDER).is_dir() else [root]
    listed = next(filter(None, map(_by_split, places)), {})
    if not listed and (path := next(filter(None, map(_alone, reversed(places))), None)):
        listed = {_WHOLE: path}
    return [_Source(split, path, _image_places(split, path)) for split, path in listed.items()]


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


def _beside(path: Path) -> tuple[Path, list[_Source]]:
    """For a bare file, the folder to which its images' paths are relative, and the file as the one split there is."""
    within = path.parent.name.lower() == _FOLDER
    root = path.parent.parent if within else path.parent
    owner = path.parent.name if path.name in _NAMES else path.stem.removeprefix(_PREFIX)
    split = split_name(_without_year(owner)) or _WHOLE
    beside = (path.parent.name,) if within else ()
    return root, [_Source(split, path, (*_image_places(split, path), *beside))]


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
                Flaw(where, f"category {number} '{category.name}' has no box and only groups others: no class")
            )
        else:
            classes.append(category)
    return classes, flaws


def _part(source: _Source, file: CocoFile, folder: ImageFolder, label: Mapping[int, int], bare: bool) -> _Part:
    part = _Part()
    ids = _image_ids(source, file, folder, bare, part.flaws)
    boxes = {number: BoxList.in_pixels(_size(file.images[number], folder.root / id)) for number, id in ids.items()}
    for annotation in file.annotations:
        if problem := _take(annotation, boxes, file, label):
            part.flaws.append(Flaw(file.path, f"{annotation.at}: {problem}", of_truth=True))
    for number, id in ids.items():
        image = file.images[number]
        checked = boxes[number].checked()
        truth = partial(pixel_truth, checked, f"{file.path}, {image.name}", image.size)
        part.samples.append(Sample(id, folder.root / id, truth))
        part.numbers[id] = number
        if not checked.teaches:
            part.negatives.add(id)
    return part


def _image_ids(source: _Source, file: CocoFile, folder: ImageFolder, bare: bool, flaws: list[Flaw]) -> dict[int, str]:
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


def _missing(source: _Source, file: CocoFile, missing: list[CocoImage], bare: bool) -> list[Flaw]:
    if missing and len(missing) == len(file.images):
        looked = some([f"{place or '.'}/" for place in source.below], len(source.below))
        left = "only stored predictions can be scored" if bare else f"split '{source.split}' is left out"
        return [Flaw(file.path, f"lists {len(missing)} images, none of which is in {looked}: {left}")]
    left = "only a stored prediction of it can be scored" if bare else "left out"
    return [Flaw(file.path, f"image {image.id}, {image.name}, is listed but missing: {left}") for image in missing]


def _size(image: CocoImage, path: Path) -> tuple[int, int] | None:
    return image.size or (size_of(path) if path.is_file() else None)


def _take(annotation: CocoAnnotation, boxes: Mapping[int, BoxList], file: CocoFile, label: Mapping[int, int]) -> str:
    """Take one annotation; what is wrong with it, "" for nothing."""
    if annotation.image not in file.images:
        return f"is for image {annotation.image}, which 'images' doesn't list: dropped"
    if annotation.image not in boxes:
        return ""  # a flaw of the image already
    image = file.images[annotation.image].name
    if annotation.xywh is None:
        return f"its bbox for {image} isn't four numbers: dropped"
    x, y, width, height = annotation.xywh
    edges = x, y, x + width, y + height
    problem = boxes[annotation.image].add(edges, label[annotation.category], annotation.crowd, annotation.area)
    if not problem:
        return ""
    named = ", ".join(f"{value:g}" for value in annotation.xywh)
    return f"{file.categories[annotation.category].name} box ({named}) of {image} {problem}"


def _unlisted(root: Path, splits: Iterable[Iterable[Sample[Boxes]]]) -> list[Flaw]:
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


READER: Reader[Boxes] = Reader(
    format="coco",
    looks_like="train/_annotations.coco.json beside images, annotations/instances_train.json with train/ or "
    "images/train/, annotations.json with images/, or such a JSON file itself",
    recognises=_recognises,
    read=_read,
)
