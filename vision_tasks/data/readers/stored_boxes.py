"""Stored predictions of boxes, of any tool: what `evaluate --predictions` scores.

- COCO results: `[{"image_id", "category_id", "bbox": [x, y, width, height], "score"}, ...]`, with the ids of the data
  set's own files. Where splits number their images alike, an id means an image of the split that is scored. Beside a
  `predictions.coco.json` that lists all of their ids, as `predict` writes both, the ids are those of that file.
- A COCO data set: `{"images", "annotations", "categories"}`, its annotations with a `score`. Its ids are its own:
  images are found by `file_name`, classes by name.
- `predictions.jsonl`, as `predict` writes it, or the folder that holds it: a line `{"image", "predictions": [{"label",
  "score", "box": [x1, y1, x2, y2]}]}` for each image; empty lines are passed over.
- A CSV, as `predict` writes it: a row of `path,label,score,x1,y1,x2,y2` for each box.

Boxes are in pixels of the original image. A score is any number, higher is surer. A name in the file is that of the
image whose id it equals, ends with, or is the end of, folder by folder; of several, the only one that is scored. An
image without predictions has none: no detector finds something everywhere. Predictions for images that are not scored
are left out, and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.path_ends import ends
from vision_tasks.data.readers.table import EXTENSIONS, read_table, read_text
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.types import Boxes, Sample

_RESULTS = '[{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]'
_LINE = '{"image": "1.jpg", "predictions": [{"label": "cat", "score": 0.9, "box": [x1, y1, x2, y2]}]}'
_COLUMNS = ("path", "label", "score", "x1", "y1", "x2", "y2")
_LINES = "predictions.jsonl"  # what `predict` always writes
_UNDECODABLE = "surrogateescape"  # names of files need not be text
NAMED = "predictions.coco.json"  # the data set that `predict` writes beside its results
_CUT = 0.1  # a least score from which on it looks like a threshold


class StoredBoxes(NamedTuple):
    """The prediction of each sample that was asked for, and what the user must be told about the file."""

    predictions: list[Boxes]
    remarks: list[str]


class _Row(NamedTuple):
    """One prediction; `image` and `label` as the file calls them."""

    at: int  # its number in the file, from 1
    image: Any
    label: Any
    box: Any
    score: Any


class _Content(NamedTuple):
    """What a file holds, and how it calls things."""

    rows: list[_Row]
    images: Mapping[Any, str | None]  # each name or id of an image, None where it is none of the data set's
    labels: Mapping[Any, int]
    corners: bool  # boxes are x1, y1, x2, y2; else x, y, width, height
    place: str  # what a row is called in errors: a line, an entry
    remarks: tuple[str, ...] = ()


def read_stored_boxes(path: Path, dataset: Dataset[Boxes], samples: Sequence[Sample[Boxes]]) -> StoredBoxes:
    """The prediction for each of `samples`, in their order.

    Raises UserError, naming file and row, for what the module's description does not allow, and where no prediction is
    for any of `samples`.
    """
    path = _file(path)
    asked = [sample.id for sample in samples]
    names = _Names(asked, (sample.id for split in dataset.splits.values() for sample in split))
    content = _read(path, dataset, names)
    by_image: dict[str, list[tuple[float, ...]]] = {each: [] for each in asked}
    elsewhere: dict[Any, int] = {}  # predictions by images that are not scored
    for row in content.rows:
        checked = _checked(row, content, path)
        image = content.images[row.image]
        if image in by_image:
            by_image[image].append(checked)
        else:
            elsewhere[row.image] = elsewhere.get(row.image, 0) + 1
    if elsewhere and not any(by_image.values()):
        raise UserError(
            f"{path}: none of its {len(content.rows)} predictions is for the {len(asked)} images that are scored; they "
            f"are for {some(map(str, elsewhere))}. Choose the --split that was predicted"
        )
    return StoredBoxes(
        [_boxes(by_image[each]) for each in asked], [*content.remarks, *_remarks(path, by_image, elsewhere)]
    )


def _file(path: Path) -> Path:
    """The file that is meant: of a folder the lines that `predict` wrote into it."""
    if path.is_dir() and not (path / _LINES).is_file():
        raise UserError(f"{path}: is a folder without {_LINES}; give one that predict wrote, or a file of predictions")
    return path / _LINES if path.is_dir() else path


def _read(path: Path, dataset: Dataset[Boxes], names: _Names) -> _Content:
    if path.suffix.lower() == ".jsonl":
        return _from_lines(path, dataset, names)
    if path.suffix.lower() in EXTENSIONS:
        return _from_table(path, dataset, names)
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error}); predictions are {_RESULTS}, or lines in a .jsonl") from error
    if isinstance(found, dict):
        return _from_dataset(path, found, dataset, names)
    if isinstance(found, list):
        return _from_results(path, found, dataset, names)
    raise UserError(f"{path}: holds no predictions; needed is {_RESULTS}")


def _from_results(path: Path, found: list[Any], dataset: Dataset[Boxes], names: _Names) -> _Content:
    rows = [_row(path, at, each) for at, each in enumerate(found, 1)]
    if named := _named_beside(path, rows):
        content = _from_dataset(path.with_name(NAMED), named | {"annotations": found}, dataset, names)
        said = f"{path.name}: its ids are taken to be those of {NAMED} beside it, which lists them all"
        return content._replace(place="entry", remarks=(said,))
    if not dataset.image_ids:
        raise UserError(
            f"{path}: names its images by number, but {dataset.root} ({dataset.format}) does not number them; give "
            "predictions with file names: predictions.jsonl, or a COCO data set with scores"
        )
    known: dict[Any, str] = {}
    for name in names.asked_last:
        if name in dataset.image_ids:
            known[dataset.image_ids[name]] = name
    ids = dataset.class_ids or range(len(dataset.classes))
    labels = {number: i for i, number in enumerate(ids)}
    return _Content(rows, {row.image: known.get(row.image) for row in rows}, labels, False, "entry")


def _named_beside(path: Path, rows: Sequence[_Row]) -> dict[str, Any]:
    """The data set that names the images and classes of results, {} where none does."""
    beside = path.with_name(NAMED)
    if not rows or not beside.is_file():
        return {}
    try:
        found = json.loads(read_text(beside))
        images, categories = ({each["id"] for each in found[key]} for key in ("images", "categories"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{beside}: can't be read as a data set ({error}); move {path.name} away from it") from error
    covered = images.issuperset(row.image for row in rows) and categories.issuperset(row.label for row in rows)
    return dict(found) if covered else {}


def _from_dataset(path: Path, found: dict[str, Any], dataset: Dataset[Boxes], names: _Names) -> _Content:
    try:
        files = {each["id"]: str(each["file_name"]) for each in found["images"]}
        categories = {each["id"]: str(each["name"]) for each in found["categories"]}
        annotations = list(found["annotations"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: lacks {error}; needed is {_RESULTS}, or a COCO data set with scores") from error
    rows = [_row(path, at, each) for at, each in enumerate(annotations, 1)]
    used = {row.label for row in rows}
    labels = {
        number: _class_number(name, dataset.classes, f"{path}, category {number}")
        for number, name in categories.items()
        if number in used
    }
    images = {number: names.find(name, str(path)) for number, name in files.items()}
    for row in rows:
        if row.image not in images:
            raise UserError(f"{path}, annotation {row.at}: its image_id {row.image} is none of the file's images")
    return _Content(rows, images, labels, False, "annotation")


def _from_lines(path: Path, dataset: Dataset[Boxes], names: _Names) -> _Content:
    rows: list[_Row] = []
    images: dict[Any, str | None] = {}
    taken: dict[str, str] = {}
    for at, line in enumerate(read_text(path, _UNDECODABLE).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {at}"
        try:
            each = json.loads(line)
            name = str(each["image"])
            own = [_Row(at, name, composed(str(p["label"])), p["box"], p["score"]) for p in each["predictions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{where}: not of the form {_LINE}") from error
        images[name] = image = names.find(name, where)
        if image is not None and (other := taken.setdefault(image, where)) != where:
            raise UserError(f"{where}: {name} stands in {other} already; keep one of the lines")
        rows += own
    return _Content(rows, images, _label_numbers(path, rows, dataset.classes), True, "line")


def _from_table(path: Path, dataset: Dataset[Boxes], names: _Names) -> _Content:
    table = read_table(path, _UNDECODABLE, may_be_empty=True)
    if missing := [name for name in _COLUMNS if table.find([name]) is None]:
        raise UserError(f"{path}: has no column {some(missing, 7)}; needed are {', '.join(_COLUMNS)}")
    places = [table.find([name]) or 0 for name in _COLUMNS]
    rows: list[_Row] = []
    images: dict[Any, str | None] = {}
    for line, cells in table.rows:
        name, label, score, *box = (cells[place] for place in places)
        if name not in images:
            images[name] = names.find(name, table.at(line))
        rows.append(_Row(line, name, composed(label), box, score))
    return _Content(rows, images, _label_numbers(path, rows, dataset.classes), True, "line")


def _label_numbers(path: Path, rows: Iterable[_Row], classes: Sequence[str]) -> dict[str, int]:
    """The classes by the names that lines give them. Raises UserError for a line with another name."""
    numbers = {composed(name): i for i, name in enumerate(classes)}
    for row in rows:
        if row.label not in numbers:
            raise UserError(f"{path}, line {row.at}: {unknown_name('label', row.label, classes)}")
    return numbers


def _row(path: Path, at: int, each: Any) -> _Row:
    try:
        row = _Row(at, each["image_id"], each["category_id"], each["bbox"], each["score"])
        hash((row.image, row.label))
        return row
    except (KeyError, TypeError) as error:
        lacks = f"lacks {error}" if isinstance(error, KeyError) else f"is wrong ({error})"
        raise UserError(f"{path}, entry {at}: {lacks}; needed is {_RESULTS}") from error


def _checked(row: _Row, content: _Content, path: Path) -> tuple[float, ...]:
    """x1, y1, x2, y2, class and score."""
    where = f"{path}, {content.place} {row.at}"
    if row.label not in content.labels:
        raise UserError(f"{where}: unknown category_id {row.label}; there are {some(map(str, content.labels), 20)}")
    try:
        x, y, a, b = map(float, row.box)
        score = float(row.score)
    except (ValueError, TypeError):
        raise UserError(f"{where}: box {row.box} with score {row.score} is not four numbers and one") from None
    right, lower = (a, b) if content.corners else (x + a, y + b)
    if not all(map(math.isfinite, (x, y, right, lower, score))):
        raise UserError(f"{where}: box {row.box} with score {row.score} is not finite; leave such predictions out")
    if right < x or lower < y:
        sides = "x1, y1, x2, y2" if content.corners else "x, y, width, height"
        raise UserError(f"{where}: box {row.box} ends before it begins; a box is {sides}")
    return x, y, right, lower, content.labels[row.label], score


def _boxes(rows: Sequence[tuple[float, ...]]) -> Boxes:
    table = np.array(rows, np.float64).reshape(-1, 6)
    xyxy, label, score = table[:, :4], table[:, 4], table[:, 5]
    return Boxes.single(torch.from_numpy(xyxy), torch.from_numpy(label), None, torch.from_numpy(score))


def _class_number(name: str, classes: Sequence[str], where: str) -> int:
    numbers = {composed(each): i for i, each in enumerate(classes)}
    if composed(name) not in numbers:
        raise UserError(f"{where}: {unknown_name('class', name, classes)}")
    return numbers[composed(name)]


def _remarks(
    path: Path, by_image: Mapping[str, Sequence[tuple[float, ...]]], elsewhere: Mapping[Any, int]
) -> list[str]:
    said = []
    if elsewhere:
        said.append(
            f"{path.name}: left out {sum(elsewhere.values())} predictions for {len(elsewhere)} images that are not "
            f"scored: {some(map(str, elsewhere))}"
        )
    if empty := sum(not rows for rows in by_image.values()):
        said.append(f"{path.name}: no predictions for {empty} of {len(by_image)} images")
    least = min((row[-1] for rows in by_image.values() for row in rows), default=0.0)
    if least >= _CUT:
        said.append(
            f"{path.name}: no score is below {least:.3g}; map counts unsure boxes, too: a threshold that left them out "
            "(predict --conf) makes it lower"
        )
    return said


class _Names:
    """Finds the sample that a file means by a path."""

    def __init__(self, asked: Sequence[str], all_ids: Iterable[str]) -> None:
        # Those that are asked for come last: where ids repeat, they win.
        self.asked_last = [*dict.fromkeys(all_ids), *asked]
        self._asked = frozenset(asked)
        self._ends: dict[str, dict[str, None]] = {}
        for each in self.asked_last:
            for end in ends(composed(each)):
                self._ends.setdefault(end, {})[each] = None
        self._exact = {composed(each): each for each in self.asked_last}

    def find(self, name: str, where: str) -> str | None:
        """The id of a sample; None for an image of other data. Raises UserError where several are meant."""
        plain = composed(name.replace("\\", "/").removeprefix("./"))
        if plain in self._exact:
            return self._exact[plain]
        inside = (self._exact[end] for end in ends(plain) if end in self._exact)
        found = [*self._ends.get(plain, ())] or [*inside][:1]
        asked = [each for each in found if each in self._asked]
        if len(asked) == 1:
            return asked[0]
        if len(found) > 1:
            raise UserError(f"{where}: {name} may be {' or '.join(sorted(found)[:2])}; write more of its path")
        return found[0] if found else None
