"""Numbers as people read them; what is undefined is a dash."""

from __future__ import annotations

from collections.abc import Sequence

from vision_tasks.report.page import Cell

NONE = "-"

Number = float | int | None


def score(value: Number) -> str:
    """In [0, 1]: three digits."""
    return NONE if value is None else f"{value:.3f}"


def short(value: Number) -> str:
    """Three digits that count, without powers of ten."""
    if value is None:
        return NONE
    return (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"
    )


def many(value: Number) -> str:
    """With k, M, G for thousands, millions, billions."""
    return _scaled(value, 1000, ("", " k", " M", " G", " T"))


def size(value: Number) -> str:
    """Bytes, in kB, MB, GB of 1000."""
    return _scaled(value, 1000, (" B", " kB", " MB", " GB", " TB"))


def _scaled(value: Number, step: int, units: Sequence[str]) -> str:
    if value is None:
        return NONE
    scaled, place = float(value), 0
    while abs(scaled) >= step - 0.5 and place < len(units) - 1:
        scaled, place = scaled / step, place + 1
    return f"{scaled:.3g}{units[place]}"


def with_interval(value: Number, low: Number, high: Number) -> str:
    """A score and its 95 % interval."""
    return score(value) if low is None or high is None else f"{score(value)} ({score(low)} to {score(high)})"


def score_cell(value: Number) -> Cell:
    return Cell(score(value), value)


def short_cell(value: Number) -> Cell:
    return Cell(short(value), value)


def mean_of(values: Sequence[Number]) -> float | None:
    """Over those that are defined, as of several seeds; None if none is."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
