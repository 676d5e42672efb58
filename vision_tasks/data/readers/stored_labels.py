"""Stored predictions for whole images, of any tool: what `evaluate --predictions` scores.

- CSV `path,label,score`: an image's best label, or its best labels in several rows.
- CSV `path` and a column for each class: a probability each.
- `predictions.jsonl`, as `predict` writes it: `{"image": ..., "predictions": [{"label": ..., "score": ...}]}` a line;
  empty lines are passed over. CSVs may have the delimiters and spaces that tables of labels may have (see `table`).

Scores are probabilities: numbers in [0, 1] which, where an image has one class, sum up to 1 (within 0.05; decimals are
rounded). Logits are an error, since whether softmax or sigmoid belongs to them is not in the file.

Where only an image's best labels are named, what they leave of 1 is spread evenly over the others, of which none gets
more than the least that is named. Named labels keep the order of their scores, or of the file where scores are equal:
so the best and the five best are the file's. Each is moved by less than 1e-6 for that; a calibration error sees the
score of the file. Where images may have several classes, nothing can be said of a class that is not named (it stayed
below the threshold of whoever wrote the file), so all must be named: `predict --conf 0` does that.

A path in the file belongs to the sample whose id is equal to it. Of the others, it belongs to the one sample left whose
id ends with it, or which it ends with, folder by folder: `photos/test/cat/1.jpg`, `test/cat/1.jpg` and `cat/1.jpg` may
be the same image. How accents are stored makes no difference, for paths and labels.
Every sample needs a prediction. Where each has one, those of other images are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.path_ends import ends
from vision_tasks.data.readers.table import Table, read_table, read_text
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.types import Labels

_TOLERANCE = 0.05  # of sums of rounded probabilities
_LEAST = np.float32(1e-30)  # above 0 in every format and arithmetic
_UNDECODABLE = "surrogateescape"  # names of files need not be text


@dataclass
class _Stored:
    """What the file says of one image."""

    where: str  # its first row, for errors
    ranked: bool  # it names labels, the best first where scores are equal
    scores: dict[int, float] = field(default_factory=dict)  # by class, in the order of the file


def read_stored_labels(
    path: Path, classes: Sequence[str], ids: Sequence[str], *, exclusive: bool = True
) -> list[Labels]:
    """The prediction [1,K] for each of the samples `ids`, in their order.

    `exclusive` says that an image has one class. Raises UserError, naming file and row, for what the module's
    description does not allow.
    """
    numbers = {composed(name): i for i, name in enumerate(classes)}
    if path.suffix.lower() == ".jsonl":
        stored = _from_lines(path, numbers)
    else:
        stored = _from_table(read_table(path, _UNDECODABLE), numbers)
    by_id = _matched(path, stored, ids)
    return [Labels(torch.from_numpy(_weights(by_id[each], len(classes), exclusive))[None]) for each in ids]


def _from_table(table: Table, classes: Mapping[str, int]) -> dict[str, _Stored]:
    header = [composed(name) for name in table.columns]
    ranked = _names_labels(table.path, header, classes)
    found: dict[str, _Stored] = {}
    for line, row in table.rows:
        where = table.at(line)
        cells = dict(zip(header, row, strict=True))
        image = cells.pop("path")
        if image in found and not ranked:
            raise UserError(f"{where}: {image} stands in {found[image].where} already; keep one of the rows")
        stored = found.setdefault(image, _Stored(where, ranked))
        _add(stored, [(cells["label"], cells["score"])] if ranked else cells.items(), where, classes)
    return found


def _names_labels(path: Path, header: Sequence[str], classes: Mapping[str, int]) -> bool:
    """Whether the columns are path, label and score; if not, they are path and the classes."""
    columns = set(header)
    if len(columns) < len(header):
        raise UserError(f"{path}: two columns have the same name; rename or remove one")
    if "path" in columns and set(classes) == columns - {"path"}:
        return False
    if {"path", "label", "score"} <= columns:
        return True
    unknown, missing = columns - {"path"} - set(classes), set(classes) - columns
    if "path" in columns and len(missing) < len(classes):
        lacking = f" lacks the classes {some(sorted(missing))}" if missing else ""
        beyond = f" has columns that are no classes: {some(sorted(unknown))}" if unknown else ""
        raise UserError(f"{path}{' and'.join(filter(None, [lacking, beyond]))}; a column for each class is needed")
    raise UserError(
        f"{path} has the columns {some(header, 5) or '(none)'}; needed are path, label and score (1 where the tool "
        "gave none), or path and a column for each class"
    )


def _from_lines(path: Path, classes: Mapping[str, int]) -> dict[str, _Stored]:
    found: dict[str, _Stored] = {}
    for number, line in enumerate(read_text(path, _UNDECODABLE).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        image, labels = _parsed(line, where)
        if image in found:
            raise UserError(f"{where}: {image} stands in {found[image].where} already; keep one of the lines")
        found[image] = _Stored(where, ranked=True)
        _add(found[image], labels, where, classes)
    return found


def _parsed(line: str, where: str) -> tuple[str, list[tuple[str, Any]]]:
    """The image, and its labels with their scores."""
    try:
        row = json.loads(line)
        return str(row["image"]), [(str(each["label"]), each["score"]) for each in row["predictions"]]
    except (ValueError, KeyError, TypeError) as error:
        form = '{"image": ..., "predictions": [{"label": ..., "score": ...}]}'
        raise UserError(f"{where}: not of the form {form}") from error


def _add(stored: _Stored, labels: Iterable[tuple[str, Any]], where: str, classes: Mapping[str, int]) -> None:
    for given, text in labels:
        name = composed(given)
        if name not in classes:
            raise UserError(f"{where}: {unknown_name('label', name, classes)}")
        if classes[name] in stored.scores:
            raise UserError(f"{where}: the label {name} is given twice for one image; keep one")
        stored.scores[classes[name]] = _probability(text, where)


def _probability(text: Any, where: str) -> float:
    try:
        value = float(text)
    except (ValueError, TypeError):
        raise UserError(f"{where}: the score '{text}' is no number") from None
    if not 0 <= value <= 1:
        raise UserError(
            f"{where}: the score {text} is no probability in [0, 1]; apply softmax (or, for several classes an image, "
            "sigmoid) before writing"
        )
    return value


def _matched(path: Path, stored: Mapping[str, _Stored], ids: Sequence[str]) -> dict[str, _Stored]:
    """What is stored by sample id."""
    forms = {composed(each): each for each in ids} | {each: each for each in ids}
    exact = {name: forms.get(name) or forms.get(_plain(name)) or forms.get(composed(_plain(name))) for name in stored}
    found: dict[str, str] = {}  # sample id -> name in the file
    for name, each in exact.items():
        if each is not None:
            _take(found, each, name, stored)
    left = _by_end(each for each in ids if each not in found)
    unknown = []
    for name in (name for name, each in exact.items() if each is None):
        fitting = _fitting(composed(_plain(name)), left)
        if len(fitting) > 1:
            either = " or ".join(sorted(fitting)[:2])
            raise UserError(f"{stored[name].where}: {name} may be {either}; write more of its path")
        if fitting:
            _take(found, fitting[0], name, stored)
        else:
            unknown.append(name)
    _check_complete(path, ids, found, unknown)
    return {each: stored[name] for each, name in found.items()}


def _take(found: dict[str, str], each: str, name: str, stored: Mapping[str, _Stored]) -> None:
    """Note that `name` in the file means the sample `each`."""
    if (other := found.setdefault(each, name)) != name:
        raise UserError(f"{stored[name].where}: {name} and {other} are both {each}; keep one of them")


def _check_complete(path: Path, ids: Sequence[str], found: Mapping[str, str], unknown: Sequence[str]) -> None:
    if missing := [each for each in ids if each not in found]:
        strangers = f"; of no image here are the predictions for {some(unknown)}" if unknown else ""
        raise UserError(
            f"{path}: no prediction for {len(missing)} of {len(ids)} images: {some(missing)}{strangers}. "
            "Predict them, or choose the split that was predicted"
        )


def _fitting(name: str, left: Mapping[str, Sequence[str]]) -> list[str]:
    """The samples whose ids end with `name`, and the one with most of whose path it ends."""
    shorter = islice(ends(name), 1, None)
    inside = ([each for each in left.get(end, ()) if composed(each) == end] for end in shorter)
    return [*left.get(name, ()), *next(filter(None, inside), [])]


def _plain(name: str) -> str:
    """A path as ids are written."""
    return name.replace("\\", "/").removeprefix("./")


def _by_end(ids: Iterable[str]) -> dict[str, list[str]]:
    """Ids by the paths that they end with, themselves included."""
    found: dict[str, list[str]] = {}
    for each in ids:
        whole = composed(each)
        for end in ends(whole):
            found.setdefault(end, []).append(each)
    return found


def _weights(stored: _Stored, count: int, exclusive: bool) -> NDArray[np.float32]:
    """Probabilities [K]."""
    _check_sum(stored, count, exclusive)
    if stored.ranked and exclusive:
        return _spread(stored.scores, count)
    weights = np.empty(count, np.float32)
    weights[list(stored.scores)] = list(stored.scores.values())
    return weights


def _spread(scores: Mapping[int, float], count: int) -> NDArray[np.float32]:
    """Probabilities [K] in which the named labels come first, in their order, and the others share what is left."""
    best_first = sorted(scores, key=lambda label: -scores[label])
    left = max(0.0, 1 - sum(scores.values())) / max(1, count - len(scores))
    last = np.float32(min(left, scores[best_first[-1]]))
    weights = np.full(count, last)
    for label in reversed(best_first):
        last = max(np.float32(scores[label]), np.nextafter(last, np.float32(1)), _LEAST)
        weights[label] = last
    return weights


def _check_sum(stored: _Stored, count: int, exclusive: bool) -> None:
    total, named = sum(stored.scores.values()), len(stored.scores)
    if not exclusive and named < count:
        raise UserError(
            f"{stored.where}: {named} of {count} classes are named; where images may have several classes each needs a "
            "probability: predict with --conf 0, or write a CSV with path and a column for each class"
        )
    if not named:
        raise UserError(f"{stored.where}: names no label; each image needs its best labels")
    if exclusive and (total > 1 + _TOLERANCE or (named == count and total < 1 - _TOLERANCE)):
        raise UserError(
            f"{stored.where}: the probabilities sum up to {total:.4g}, not to 1; apply softmax before writing"
        )
