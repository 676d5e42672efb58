"""Boxes of truth that are probably wrong, as a table for people to go through (`label_errors.csv`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_tasks.files import write_text

_COLUMNS = ("image", "what", "confidence", "label", "predicted")


def write_label_errors(folder: Path, found: Sequence[Mapping[str, Any]], classes: Sequence[str] = ()) -> list[Path]:
    """One row for each of `found`, in its order; the box in four columns, pixels."""
    path = folder / "label_errors.csv"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, "x1", "y1", "x2", "y2"])
    writer.writerows([*(row[name] for name in _COLUMNS), *row["box"]] for row in found)
    write_text(path, text.getvalue())
    return [path]
