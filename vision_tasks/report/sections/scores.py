"""The scores of one model, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vision_tasks.report.numbers import score, score_cell
from vision_tasks.report.page import Cell, table

_NO_SCORES = ("images", "temperature")


def scores(metrics: Mapping[str, Any]) -> str:
    """A row for each score of a `metrics.json`, in its order."""
    numbers = {
        key: value
        for key, value in metrics.items()
        if (value is None or isinstance(value, float | int)) and key not in _NO_SCORES
    }
    rows = []
    for key, value in numbers.items():
        low, high = metrics.get(f"{key}_ci") or (None, None)
        interval = "" if low is None else f"{score(low)} to {score(high)}"
        rows.append([Cell(key), score_cell(value), interval])
    return table(f"Scores over {metrics['images']:,} images", ["score", "value", "95 % interval over images"], rows)
