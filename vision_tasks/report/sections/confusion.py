"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vision_tasks.report.confusion import NOTHING, per_cent
from vision_tasks.report.contender import Contender, having
from vision_tasks.report.figures import Figure, Variant, drawn, named_ticks
from vision_tasks.report.numbers import many
from vision_tasks.report.page import Cell, paragraph, table

_DRAWN = 60  # classes, at most: cells of more can't be seen
_WRITTEN = 12  # classes whose matrix is a table; of more it is a list of errors
_LISTED = 50  # errors, of each model

Matrix = Sequence[Sequence[int]]  # rows are truth, columns predictions; beyond the classes: nothing


def confusion(contenders: Sequence[Contender]) -> list[str]:
    """A matrix for each model, of its first seed."""
    known = [(each, found, [*each.first("per_class")]) for each, found in having(contenders, "confusion")]
    if not known:
        return []
    tables = [_table(*each, alone=len(known) == 1) for each in known]
    if len(known[0][2]) > _DRAWN:
        return [paragraph(f"With {len(known[0][2])} classes only the largest confusions are listed."), *tables]
    caption = "Rows are truth, columns are predictions; the colour is the share of the row, on a square-root scale."
    caption += " Of each model the first seed." if any(len(each.metrics) > 1 for each, _, _ in known) else ""
    return [drawn(Figure(caption, [_variant(*each) for each in known], tables, "Model"))]


def _variant(each: Contender, matrix: Matrix, classes: list[str]) -> Variant:
    columns, rows = _names(len(matrix[0]), classes), _names(len(matrix), classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[round(share, 4) for share in row] for row in shares],
        "zmin": 0,
        "zmax": 1,
        "customdata": [*map(list, matrix)],
        "colorscale": "page",
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y} as %{x}<br>%{customdata:,}, %{z:.2%} of the row<extra></extra>",
    }
    if len(classes) <= _WRITTEN:
        trace["text"] = [[many(count) for count in row] for row in matrix]
        trace["texttemplate"] = "%{text}"
    layout = {
        "height": 130 + max(220, 26 * len(rows)),
        "hovermode": "closest",
        "xaxis": {**named_ticks(columns, 16), "title": {"text": "predicted"}, "showgrid": False},
        "yaxis": {**named_ticks(rows, 16), "title": {"text": "truth"}, "autorange": "reversed", "showgrid": False},
    }
    return Variant(each.name, [trace], layout)


def _names(size: int, classes: list[str]) -> list[str]:
    return [*classes, NOTHING][:size]


def _table(each: Contender, matrix: Matrix, classes: list[str], alone: bool) -> str:
    of = "" if alone else f" of {each.name}"
    columns, rows = _names(len(matrix[0]), classes), _names(len(matrix), classes)
    if len(classes) <= _WRITTEN:
        cells = [[name, *(f"{count:,}" for count in row)] for name, row in zip(rows, matrix, strict=True)]
        return table(f"Confusion matrix{of}", ["truth \\ predicted", *columns], cells)
    errors = [
        (count, rows[y], columns[x], count / sum(row))
        for y, row in enumerate(matrix)
        for x, count in enumerate(row)
        if count and x != y
    ]
    errors.sort(key=lambda error: -error[0])
    listed = [
        [truth, predicted, Cell(f"{count:,}", count), Cell(f"{per_cent(share)} %", share)]
        for count, truth, predicted, share in errors[:_LISTED]
    ]
    header = ["truth", "predicted", "count", "share of the truth"]
    return table(f"The largest confusions{of}", header, listed, sortable=True)
