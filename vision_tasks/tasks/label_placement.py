"""Where labels of boxes go: beside their box, inside the picture, on no other label, and off other boxes if possible.

A greedy point-feature labelling (Christensen, Marks, Shieber 1995): a few candidate places for each label, of which the
first that is free and hides least is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEP = 0.1  # shares of hidden boxes that differ by less are alike; the earlier candidate is then taken


def place_labels(plates: Floats, boxes: Floats, size: tuple[int, int]) -> list[tuple[float, float] | None]:
    """The upper left corner of each label, or None where there is no room for it; earlier labels choose first.

    `plates` [N,2] are the labels' (width, height), `boxes` [N,4] their boxes (xyxy), `size` is the picture's
    (width, height).
    """
    taken = np.zeros((0, 4))
    corners: list[tuple[float, float] | None] = []
    for plate, box in zip(plates, boxes, strict=True):
        places = _candidates(plate, box, size)
        free = ~(_overlap(places, taken) > 0).any(axis=1) & bool((plate <= size).all())
        if not free.any():
            corners.append(None)
            continue
        chosen = places[np.flatnonzero(free)[_least_hiding(places[free], boxes)]]
        taken = np.vstack([taken, chosen])
        corners.append((float(chosen[0]), float(chosen[1])))
    return corners


def _candidates(plate: Floats, box: Floats, size: Sequence[int]) -> Floats:
    """Places [C,4] around and in a box, the usual ones first, pushed into the picture."""
    (width, height), (x0, y0, x1, y1) = plate, box
    corners = np.array([
        (x0, y0 - height), (x1 - width, y0 - height), (x0, y1), (x1 - width, y1),  # above and below
        (x0, y0), (x1 - width, y0), (x0, y1 - height), (x1 - width, y1 - height),  # inside
        (x1, y0), (x0 - width, y0), (x1, y1 - height), (x0 - width, y1 - height),  # beside
    ])  # fmt: skip
    corners = corners.clip(0, np.maximum(np.array(size) - plate, 0))
    return np.hstack([corners, corners + plate])


def _least_hiding(places: Floats, boxes: Floats) -> int:
    """Which of `places` hides the smallest share of any box."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(1)
    return int(np.argmin((_overlap(places, boxes) / area).max(axis=1) // _STEP))


def _overlap(a: Floats, b: Floats) -> Floats:
    """Areas [A,B] that rectangles `a` [A,4] and `b` [B,4] share."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared: Floats = (high - low).clip(0).prod(axis=2)
    return shared
