"""One COCO JSON file (cocodataset.org, data format): its images, categories and annotations, checked as far as one file
can tell. Ids are whole numbers, with gaps, from 0 or from 1, and must not repeat within the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.coco_outline import Outline, read_outline
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError
from vision_tasks.types import Size

_LISTS = ("images", "categories", "annotations")
_TRUTH_VALUES = {0: False, 1: True, "0": False, "1": True}


class CocoImage(NamedTuple):
    """An entry of `images`."""

    id: int
    name: str  # as written: it may have folders
    size: Size | None  # None where the file doesn't say


class CocoCategory(NamedTuple):
    """An entry of `categories`."""

    id: int
    name: str
    group: str  # its super category


class CocoAnnotation(NamedTuple):
    """An entry of `annotations`."""

    at: str  # how it is called in messages
    image: int
    category: int
    xywh: tuple[float, float, float, float] | None  # pixel edges; None for what is no four numbers
    crowd: bool
    area: float  # pixels, of the outline where there is one; nan where the file doesn't say
    outline: Outline | None = None  # None where nobody asked for it, or the file has none


@dataclass(frozen=True)
class CocoFile:
    """A file understood; every annotation's category is one of `categories`, its image may be none of `images`."""

    path: Path
    images: Mapping[int, CocoImage]
    categories: Mapping[int, CocoCategory]
    annotations: tuple[CocoAnnotation, ...]


def read_coco(path: Path, outlines: bool = False) -> CocoFile:
    """Raises UserError, which names the file and the entries, for what is no COCO and for ids that repeat."""
    lists = _lists(path, _with_outline if outlines else _without_outline)
    for key, remedy in (("categories", "name the classes there"), ("images", "list the images there")):
        if not lists[key]:
            raise UserError(f"{path}: '{key}' is empty; {remedy}")
    categories = _categories(path, lists["categories"])
    mistakes = Mistakes()
    images = _by_id(path, "image", _image, lists["images"], mistakes)
    annotations = _annotations(path, lists["annotations"], categories, mistakes)
    mistakes.check()
    return CocoFile(path, images, categories, annotations)


def _categories(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[int, CocoCategory]:
    mistakes = Mistakes()
    categories = _by_id(path, "category", _category, rows, mistakes)
    names: dict[str, int] = {}
    for each in categories.values():
        if (other := names.setdefault(each.name, each.id)) != each.id:
            mistakes.add(f"{path}: the categories {other} and {each.id} are both called '{each.name}'; rename one")
    mistakes.check()
    return categories


def _lists(path: Path, hook: Callable[[dict[str, Any]], Any]) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_bytes(), object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read as JSON: {error}; get or export it again") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    if not isinstance(content, dict):
        kind = (
            "a list, as results of a model are (--predictions takes those)" if isinstance(content, list) else "a value"
        )
        raise UserError(f"{path}: is no COCO annotation file but {kind}; needed are {', '.join(_LISTS)}")
    for key in _LISTS:
        rows = content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(
                f"{path}: is no COCO annotation file: it has no list of objects '{key}'; needed are {', '.join(_LISTS)}"
            )
    return {key: content[key] for key in _LISTS}


def _without_outline(row: dict[str, Any]) -> dict[str, Any]:
    """Most of a file is outlines: without them it takes a third of the memory."""
    row.pop("segmentation", None)
    return row


def _with_outline(row: dict[str, Any]) -> dict[str, Any]:
    """As soon as an outline is parsed it becomes arrays, which take a quarter of the memory of lists."""
    if "segmentation" in row:
        row["segmentation"] = read_outline(row["segmentation"])
    return row


_Entry = TypeVar("_Entry", CocoImage, CocoCategory)


def _by_id(
    path: Path,
    what: str,
    read: Callable[[Path, Mapping[str, Any]], _Entry],
    rows: Iterable[Mapping[str, Any]],
    mistakes: Mistakes,
) -> dict[int, _Entry]:
    found: dict[int, _Entry] = {}
    for row in rows:
        try:
            entry = read(path, row)
        except UserError as error:
            mistakes.add(error)
            continue
        if found.setdefault(entry.id, entry) is not entry:
            mistakes.add(f"{path}: the {what} id {entry.id} is there twice; give each {what} its own")
    return found


def _image(path: Path, row: Mapping[str, Any]) -> CocoImage:
    number = _whole(path, "image", row, "id")
    height, width = _side(row.get("height")), _side(row.get("width"))
    return CocoImage(
        number, _name(path, f"image {number}", row, "file_name"), (height, width) if height * width else None
    )


def _category(path: Path, row: Mapping[str, Any]) -> CocoCategory:
    number = _whole(path, "category", row, "id")
    return CocoCategory(number, composed(_name(path, f"category {number}", row, "name")), str(row.get("supercategory")))


def _annotations(
    path: Path, rows: Iterable[Mapping[str, Any]], categories: Mapping[int, CocoCategory], mistakes: Mistakes
) -> tuple[CocoAnnotation, ...]:
    found, seen = [], set()
    for position, row in enumerate(rows):
        at = f"annotation {row['id']}" if "id" in row else f"annotation number {position + 1}"
        if at in seen:
            mistakes.add(f"{path}: the id of {at} is there twice; give each annotation its own")
        seen.add(at)
        try:
            found.append(_annotation(path, at, row, categories))
        except UserError as error:
            mistakes.add(error)
    return tuple(found)


def _annotation(path: Path, at: str, row: Mapping[str, Any], categories: Mapping[int, CocoCategory]) -> CocoAnnotation:
    image, category = _whole(path, at, row, "image_id"), _whole(path, at, row, "category_id")
    crowd = _truth_value(path, at, row, "iscrowd")
    if category not in categories:
        raise UserError(f"{path}: {at} is of the category {category}, which 'categories' doesn't list; add it there")
    box, area, outline = _four(row.get("bbox")), _area(row.get("area")), row.get("segmentation")
    return CocoAnnotation(at, image, category, box, crowd, area, outline)


def _whole(path: Path, at: str, row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if type(value) is not int:
        said = f"is {str(value)[:40]!r}, no whole number" if key in row else "is missing"
        raise UserError(f"{path}: '{key}' of {at} {said}; mend it")
    return value


def _truth_value(path: Path, at: str, row: Mapping[str, Any], key: str) -> bool:
    """0 or 1, as a number, a truth value or a text; 0 where the key is missing."""
    value = row.get(key, 0)
    if not isinstance(value, int | float | str) or value not in _TRUTH_VALUES:
        raise UserError(f"{path}: '{key}' of {at} is {str(value)[:40]!r}, neither 0 nor 1; mend it")
    return _TRUTH_VALUES[value]


def _name(path: Path, at: str, row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{path}: {at} has no '{key}'; write one")
    return value.strip()


def _side(value: Any) -> int:
    """A side in pixels, 0 where the file doesn't say."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else 0


def _area(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else math.nan


def _four(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x, y, width, height = map(float, value)
    except (TypeError, ValueError, OverflowError):
        return None
    return x, y, width, height
