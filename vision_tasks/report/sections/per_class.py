"""Which classes are easy, which are hard, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_tasks.report.contender import Contender, having
from vision_tasks.report.figures import Figure, Variant, drawn, named_ticks, plain, rounded
from vision_tasks.report.numbers import NONE, Number, mean_of, score_cell
from vision_tasks.report.page import Cell, table

_COUNTS = ("images", "boxes", "pixels")
_NO_SCORES = (*_COUNTS, "threshold")
_DRAWN = 40  # classes, at most

Column = Mapping[str, Number]  # class -> score, the mean over seeds


def per_class(contenders: Sequence[Contender]) -> list[str]:
    """A figure with a row for each class, and a table of all."""
    known = [each for each, _ in having(contenders, "per_class")]
    if not known:
        return []
    classes = known[0].first("per_class")
    scores = [key for key in next(iter(classes.values()), {}) if key not in _NO_SCORES]
    columns = {key: [_column(each, key) for each in known] for key in scores}
    variants = [_variant(key, known, columns[key]) for key in scores]
    few = "" if len(classes) <= _DRAWN else f" The {_DRAWN} of {len(classes)} classes that {_chosen_by(known)}."
    tables = [_of_one(classes)] if len(known) == 1 else [_of_many(key, known, columns[key], classes) for key in scores]
    return [drawn(Figure(f"Scores of each class.{few}", variants, tables, "Score"))]


def _chosen_by(known: Sequence[Contender]) -> str:
    return "are scored lowest" if len(known) == 1 else "models differ most on"


def _column(each: Contender, key: str) -> Column:
    tables = each.all_of("per_class")
    return {name: mean_of([found[name].get(key) for found in tables]) for name in tables[0]}


def _variant(key: str, known: Sequence[Contender], columns: Sequence[Column]) -> Variant:
    classes = _most_telling(columns)
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plain(each.name),
            "x": rounded(column.get(name) for name in classes),
            "y": list(range(len(classes))),
            "text": [plain(name) for name in classes],
            "marker": each.marker,
            "hovertemplate": f"%{{text}}<br>{plain(key)} %{{x:.3f}}<extra>%{{fullData.name}}</extra>",
        }
        for each, column in zip(known, columns, strict=True)
    ]
    layout = {
        "entries": len(known),
        "height": 120 + 24 * max(3, len(classes)),
        "xaxis": {"title": {"text": plain(key)}},
        "yaxis": {**named_ticks(classes), "range": [-0.7, len(classes) - 0.3]},
    }
    return Variant(key, traces, layout)


def _most_telling(columns: Sequence[Column]) -> list[str]:
    """The classes to draw, the lowest score first."""
    found = {name: [value for column in columns if (value := column.get(name)) is not None] for name in columns[0]}
    defined = {name: values for name, values in found.items() if values}
    if len(columns) > 1:
        chosen = sorted(defined, key=lambda name: min(defined[name]) - max(defined[name]))[:_DRAWN]
    else:
        chosen = sorted(defined, key=lambda name: defined[name][0])[:_DRAWN]
    return sorted(chosen, key=lambda name: mean_of(defined[name]) or 0.0)


def _of_one(classes: Mapping[str, Mapping[str, Any]]) -> str:
    keys = [*next(iter(classes.values()), {})]
    rows = [[Cell(name), *(_cell(key, row.get(key)) for key in keys)] for name, row in classes.items()]
    return table("Every class", ["class", *keys], rows, sortable=True)


def _of_many(
    key: str, known: Sequence[Contender], columns: Sequence[Column], classes: Mapping[str, Mapping[str, Any]]
) -> str:
    counts = [count for count in _COUNTS if count in next(iter(classes.values()))]
    rows = [
        [
            Cell(name),
            *(_cell(count, row.get(count)) for count in counts),
            *(score_cell(column.get(name)) for column in columns),
        ]
        for name, row in classes.items()
    ]
    header = ["class", *counts, *(each.name for each in known)]
    return table(f"{key} of every class", header, rows, sortable=True)


def _cell(key: str, value: Number) -> Cell:
    return Cell(NONE if value is None else f"{value:,}", value) if key in _COUNTS else score_cell(value)
