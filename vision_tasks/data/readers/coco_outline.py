"""The outline of an object as COCO stores it (cocodataset.org, data format): polygons, or run lengths in two forms.

Outlines are drawn as pycocotools draws them, to the pixel. Runs go down the columns, the first of them is outside; as a
text their lengths are written in groups of five bits, from the fourth on as differences to the one before the last
(maskApi.c, rleFrString).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.types import Size

_FEWEST_POINTS = 3
_LONGEST = 7  # groups of five bits in a length
_FARTHEST = 1e6  # pixels, of a corner; what is drawn takes memory by the length of its edges, inside the image or not


@dataclass(frozen=True, slots=True)
class Spans:
    """Pixels of an image, which are counted down its columns, as stretches that don't overlap."""

    start: NDArray[np.int64]  # [N]
    length: NDArray[np.int64]  # [N]

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(self.length.sum())

    def positions(self) -> NDArray[np.int64]:
        """Every pixel's [area]."""
        before = np.cumsum(self.length) - self.length
        return np.repeat(self.start - before, self.length) + np.arange(self.area)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is usable of a stored outline."""

    polygons: tuple[NDArray[np.float64], ...] = ()  # [2N] each: x0, y0, x1, y1, ... in pixel edges
    runs: NDArray[np.int64] | None = None  # lengths, outside and inside in turn, down the columns of `size`
    size: Size | None = None  # of the image that the runs are for
    problem: str = ""  # what is wrong with it and was done about that

    @property
    def usable(self) -> bool:
        """Whether anything is left to draw."""
        return bool(self.polygons) or self.runs is not None

    def spans(self, size: Size) -> Spans:
        """Where it lies in an image of `size`; that of runs is for the size in the file."""
        if self.runs is not None:
            return _inside(self.runs)
        parts = [_inside(_polygon_runs(polygon, size)) for polygon in self.polygons]
        return parts[0] if len(parts) == 1 else _joined(parts)


def read_outline(stored: Any) -> Outline:
    """The `segmentation` of an annotation. What can't be used is left out and told in `problem`."""
    if isinstance(stored, Mapping):
        return _read_runs(stored)
    if not isinstance(stored, list) or not stored:
        return Outline(problem="is missing: dropped")
    flat = all(isinstance(value, int | float) for value in stored)
    return _read_polygons([stored] if flat else stored)


def _read_polygons(stored: list[Any]) -> Outline:
    read = [_polygon(points) for points in stored]
    good = tuple(polygon for polygon in read if not isinstance(polygon, str))
    problem = next((polygon for polygon in read if isinstance(polygon, str)), "")
    if not problem:
        return Outline(good)
    others = f"; {len(good)} of its {len(read)} polygons are left" if good else ""
    return Outline(good, problem=f"{problem}: dropped{others}")


def _polygon(points: Any) -> NDArray[np.float64] | str:
    """The corners of a polygon, or what is wrong with it."""
    try:
        corners = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        return "is no list of numbers"
    if corners.ndim != 1 or corners.size % 2:
        return "isn't x and y in turn"
    if corners.size < 2 * _FEWEST_POINTS:
        return f"has {corners.size // 2} points, and a polygon needs three"
    if not np.isfinite(corners).all():
        return "has a corner that is no finite number"
    return corners if np.abs(corners).max() <= _FARTHEST else f"has a corner further away than {_FARTHEST:.0f} pixels"


def _read_runs(stored: Mapping[str, Any]) -> Outline:
    counts, size = stored.get("counts"), stored.get("size")
    try:
        height, width = map(int, size)  # type: ignore[arg-type]
        runs = _unpacked(counts.encode()) if isinstance(counts, str) else np.array(counts, np.int64)
    except (TypeError, ValueError, OverflowError):
        return Outline(problem="has run lengths that can't be read: dropped")
    if height < 1 or width < 1:
        return Outline(problem=f"has run lengths for an image of {width}x{height}: dropped")
    # In whole numbers of 64 bits the sum of damaged lengths may come round to what it should be.
    if runs.ndim != 1 or (runs < 0).any() or runs.sum(dtype=np.float64) != height * width:
        return Outline(problem=f"has run lengths that don't add up to its size, {width}x{height}: dropped")
    return Outline(runs=runs, size=(height, width))


def _unpacked(counts: bytes) -> NDArray[np.int64]:
    """Run lengths out of their text. Raises ValueError."""
    code = np.frombuffer(counts, np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(code & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends + 1 - starts
    if not len(ends) or ends[-1] != len(code) - 1 or length.max() > _LONGEST or (code < 0).any() or (code > 63).any():
        raise ValueError("no run lengths")
    place = 5 * (np.arange(len(code)) - np.repeat(starts, length))
    runs: NDArray[np.int64] = np.add.reduceat((code & 0x1F) << place, starts)
    runs -= (code[ends] & 0x10 != 0).astype(np.int64) << 5 * length
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _polygon_runs(polygon: NDArray[np.float64], size: Size) -> NDArray[np.int64]:
    from hotcoco.mask import fr_poly

    return _unpacked(fr_poly(polygon.tolist(), *size)["counts"])


def _inside(runs: NDArray[np.int64]) -> Spans:
    """What every second of `runs` covers."""
    length = runs[1::2]
    return Spans(np.cumsum(runs)[0::2][: len(length)], length)


def _joined(parts: Sequence[Spans]) -> Spans:
    """The pixels that any of `parts` has."""
    start = np.concatenate([part.start for part in parts])
    end = np.concatenate([part.start + part.length for part in parts])
    order = np.argsort(start)
    start, end = start[order], np.maximum.accumulate(end[order])
    first = np.ones(len(start), np.bool_)
    first[1:] = start[1:] > end[:-1]
    return Spans(start[first], end[np.roll(first, -1)] - start[first])
