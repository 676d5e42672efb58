"""`predictions.csv`: a row for each prediction, so none for an image of which nothing is reported.

Columns path, label, score, and for boxes x1, y1, x2, y2 in original pixels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from vision_tasks.tasks.base import Format, Output, Predicted, Write

_NAME = "predictions.csv"
_LABELS = ("path", "label", "score")
_BOXES = ("x1", "y1", "x2", "y2")


def csv_table(boxes: bool = False) -> Format[Any]:
    """The format for rows of `label`, `score` and, if `boxes`, `box`."""
    return Format((_NAME,), partial(_open, _LABELS + _BOXES if boxes else _LABELS))


@contextmanager
def _open(header: tuple[str, ...], output: Output) -> Iterator[Write[Any]]:
    with (output.folder / _NAME).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)

        def write(image: Predicted[Any]) -> None:
            table.writerows([image.image, row["label"], row["score"], *row.get("box", ())] for row in image.rows)

        yield write
