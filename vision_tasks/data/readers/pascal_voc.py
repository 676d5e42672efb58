"""Boxes as Pascal VOC has them: JPEGImages/, Annotations/*.xml, and splits as lists in ImageSets/Main/*.txt.

- Corners in the files are 1-based and inclusive: `xmin, ymin, xmax, ymax` becomes xyxy `xmin - 1, ymin - 1, xmax, ymax`
  in pixel edges (VOC2012 development kit, section 3.3).
- Boxes are checked as in every format (`checked_boxes`). Here `xmax <= xmin` or `ymax <= ymin` in the file has no area,
  although one pixel would be left of an inclusive corner: it is what annotators make by a click without a drag.
- `difficult` objects stay ordinary boxes. VOC's own scoring leaves them out, COCO's knows no such thing: a COCO crowd
  may be matched many times and by parts, which is right for a group and wrong for one object. Their number is a flaw.
- An annotation for another size than its image's makes that image one that can't be read: its boxes can't be trusted.
- An annotation without objects declares that there is nothing to see. A missing one is an error. Those that can't be
  read are told together.
- `trainval` is the union of train and val, so it is a split only where neither of them exists. Lists of one class
  (`dog_train.txt`) are no splits. Without lists all images are one split, "all".
- Every annotation is read when the data set is opened (about 0.4 ms a file): classes and flaws are known only then.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, images_by_stem, in_order, split_name
from vision_tasks.data.readers.checked_boxes import BoxList, CheckedBoxes, Edges, pixel_truth, size_of
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError, some
from vision_tasks.types import Boxes, Sample, Size

Lists = dict[str, list[str]]  # split -> names without extension


@dataclass(frozen=True)
class _Object:
    name: str
    corners: Edges  # as in the file
    difficult: bool


@dataclass(frozen=True)
class _Annotation:
    path: Path
    size: Size | None  # None where the file doesn't say
    objects: tuple[_Object, ...]


def _recognises(root: Path) -> bool:
    return (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir()


def _read(root: Path) -> Dataset[Boxes]:
    images = images_by_stem(root / "JPEGImages")
    annotations = {Path(name).stem: name for name in files(root / "Annotations") if name.lower().endswith(".xml")}
    lists, flaws = _splits(root, images, annotations)
    mistakes = Mistakes()
    parsed = _parse_all({name: root / "Annotations" / annotations[name] for name in _union(lists.values())}, mistakes)
    classes = tuple(sorted({item.name for annotation in parsed.values() for item in annotation.objects}))
    if not classes:
        mistakes.check()
        raise UserError(f"{root / 'Annotations'}: no annotation holds an object; there is nothing to learn or score")
    samples: dict[str, Sample[Boxes]] = {}
    negatives = set()
    for name, annotation in parsed.items():
        path = root / "JPEGImages" / images[name]
        try:
            boxes, found = _boxes(annotation, path, classes)
        except UserError as error:
            mistakes.add(error)
            continue
        flaws += found
        truth = partial(pixel_truth, boxes, str(annotation.path), annotation.size)
        samples[name] = Sample(f"JPEGImages/{images[name]}", path, truth)
        if not len(boxes.label):
            negatives.add(samples[name].id)
    mistakes.check()
    difficult = sum(item.difficult for annotation in parsed.values() for item in annotation.objects)
    if difficult:
        flaws.append(Flaw(root, f"{difficult} objects are marked difficult: kept as ordinary boxes"))
    splits = {split: tuple(samples[name] for name in names) for split, names in lists.items()}
    return Dataset(root, READER.format, classes, splits, tuple(flaws), negatives=frozenset(negatives))


def _splits(root: Path, images: Mapping[str, str], annotations: Mapping[str, str]) -> tuple[Lists, list[Flaw]]:
    """The names in each split, each with an image and an annotation, and what is odd about the lists."""
    folder = root / "ImageSets" / "Main"
    lists = _lists(folder)
    if not lists:
        names = sorted({*images, *annotations})
        _check_files(root, "all", names, images, annotations)
        return {"all": names}, []
    flaws = []
    splits: Lists = {}
    seen: dict[str, str] = {}  # name -> its split
    for split, path in lists.items():
        names = _names(path)
        splits[split] = list(dict.fromkeys(names))
        _check_files(root, path.name, splits[split], images, annotations)
        if len(names) > len(splits[split]):
            flaws.append(Flaw(path, f"{len(names) - len(splits[split])} names stand in it twice: taken once"))
        doubles = [name for name in splits[split] if seen.setdefault(name, split) != split]
        if doubles:
            others = some(sorted({seen[name] for name in doubles}))
            flaws.append(Flaw(path, f"{len(doubles)} of its images are in {others} too ({some(doubles)})"))
    unlisted = [name for stem, name in images.items() if stem not in seen]
    if unlisted:
        flaws.append(Flaw(folder, f"{len(unlisted)} images stand in no list: not read ({some(unlisted)})"))
    if alone := [name for stem, name in annotations.items() if stem not in images]:
        said = f"{len(alone)} annotations belong to no image: not read ({some(alone)})"
        flaws.append(Flaw(root / "Annotations", said))
    return splits, flaws


def _lists(folder: Path) -> dict[str, Path]:
    """The list file of each split."""
    stems = [name[: -len(".txt")] for name in files(folder) if name.endswith(".txt")] if folder.is_dir() else []
    found: dict[str, Path] = {}
    for stem in stems:
        if stem.rpartition("_")[0] and stem.rpartition("_")[2] in stems:  # dog_train beside train
            continue
        split = split_name(stem) or stem
        if split in found:
            raise UserError(f"{folder}: {found[split].name} and {stem}.txt are the same split; merge or rename one")
        found[split] = folder / f"{stem}.txt"
    if "train" in found or "val" in found:
        found.pop("trainval", None)
    return in_order(found)


def _names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as such") from error
    return [line.split()[0] for line in lines if line.strip()]


def _check_files(
    root: Path, where: str, names: Iterable[str], images: Mapping[str, str], annotations: Mapping[str, str]
) -> None:
    for what, folder, present in (("image", "JPEGImages", images), ("annotation", "Annotations", annotations)):
        missing = [name for name in names if name not in present]
        if missing:
            listed = "" if where == "all" else f" listed in {where}"
            raise UserError(
                f"{root / folder}: {len(missing)} of the names{listed} have no {what} here ({some(missing)}); add the "
                f"files{', or take the names off the list' if listed else ''}"
            )


def _union(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


class _WithoutDoctype(ET.TreeBuilder):
    """Refuses document types before they are read: they can define entities that grow without bound."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError("it has a DOCTYPE, which annotations don't need and which isn't safe to read")


def _parse_all(paths: Mapping[str, Path], mistakes: Mistakes) -> dict[str, _Annotation]:
    """The annotations that can be read, by name."""
    parsed = {}
    for name, path in paths.items():
        try:
            parsed[name] = _parse(path)
        except UserError as error:
            mistakes.add(error)
    return parsed


def _parse(path: Path) -> _Annotation:
    try:
        tree = ET.XML(path.read_bytes(), ET.XMLParser(target=_WithoutDoctype()))
        size = tree.find("size")
        height, width = (0, 0) if size is None else (int(float(_text(size, side))) for side in ("height", "width"))
        objects = tuple(_object(item) for item in tree.iterfind("object"))
    except (ET.ParseError, LookupError, ValueError, OverflowError, OSError) as error:
        raise UserError(f"{path}: can't be read as a VOC annotation: {error}") from error
    return _Annotation(path, (height, width) if height > 0 and width > 0 else None, objects)


def _object(item: ET.Element) -> _Object:
    box = item.find("bndbox")
    if box is None:
        raise ValueError("an object has no bndbox")
    x0, y0, x1, y1 = (float(_text(box, corner)) for corner in ("xmin", "ymin", "xmax", "ymax"))
    return _Object(composed(_text(item, "name")), (x0, y0, x1, y1), item.findtext("difficult", "0").strip() == "1")


def _text(element: ET.Element, tag: str) -> str:
    text = element.findtext(tag, "").strip()
    if not text:
        raise ValueError(f"{element.tag} has no {tag}")
    return text


def _boxes(annotation: _Annotation, image: Path, classes: tuple[str, ...]) -> tuple[CheckedBoxes, list[Flaw]]:
    """The usable boxes, and what was dropped or clipped."""
    boxes, flaws = BoxList.in_pixels(annotation.size or size_of(image)), []
    for item in annotation.objects:
        if problem := boxes.add(_pixel_edges(item.corners), classes.index(item.name)):
            named = ", ".join(f"{value:g}" for value in item.corners)
            flaws.append(Flaw(annotation.path, f"{item.name} box ({named}) {problem}", of_truth=True))
    return boxes.checked(), flaws


def _pixel_edges(corners: Edges) -> Edges:
    """xyxy in pixel edges; what has no area in the file has none here."""
    x0, y0, x1, y1 = corners
    return x0 - (x1 > x0), y0 - (y1 > y0), x1, y1


READER: Reader[Boxes] = Reader(
    format="pascal-voc",
    looks_like="JPEGImages/ and Annotations/ with an XML file for each image, splits as lists in ImageSets/Main/",
    recognises=_recognises,
    read=_read,
)
