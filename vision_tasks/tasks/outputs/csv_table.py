"""`predictions.csv`: a row for each prediction, so none for an image of which nothing is reported.

Columns path, label, score, and for boxes x1, y1, x2, y2 in original pixels.
"""

from __future__ import annotations

import csv
from functools import partial

from vision_tasks.files import replacing
from vision_tasks.tasks.base import Output, Rows, Table

_NAME = "predictions.csv"
_LABELS = ("path", "label", "score")
_BOXES = ("x1", "y1", "x2", "y2")


def csv_table(boxes: bool = False) -> Table:
    """The format for predictions of `label`, `score` and, if `boxes`, `box`."""
    return Table((_NAME,), partial(_write, _LABELS + _BOXES if boxes else _LABELS))


def _write(header: tuple[str, ...], rows: Rows, output: Output) -> None:
    with (
        replacing(output.folder / _NAME) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for row in rows:
            table.writerows([row.image, each["label"], each["score"], *each.get("box", ())] for each in row.predictions)
