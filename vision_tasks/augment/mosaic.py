"""Mosaic: four images around one point of the canvas (Bochkovskiy et al., YOLOv4, 2020).

The point is drawn on a board of twice the canvas' side; the board is then zoomed about its centre and shifted, as in
the YOLO family. Here that board is never painted: each image's steps are one matrix, and each quadrant is a rectangle
of the final canvas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_tasks.config import Policy
from vision_tasks.geometry import scale, translate
from vision_tasks.types import Matrix, Region, Size

_QUADRANTS = ((0, 0), (1, 0), (0, 1), (1, 1))  # (right, lower)


@dataclass(frozen=True)
class MosaicTile:
    """One image in its quadrant: the corner that faces the centre lies on it."""

    canvas: Size
    centre: tuple[float, float]  # x, y in canvas px
    quadrant: tuple[int, int]  # (right, lower)
    gain: float  # factor on the size at which the image would just fit the canvas
    flip: tuple[bool, bool]  # (left-right, upside-down)

    @property
    def region(self) -> Region:
        """The quadrant's rectangle on the canvas."""
        height, width = self.canvas
        x, y = (int(np.clip(round(self.centre[i]), 0, (width, height)[i])) for i in (0, 1))
        right, lower = self.quadrant
        return (x if right else 0, y if lower else 0, width if right else x, height if lower else y)

    def __call__(self, size: Size) -> Matrix:
        factor = self.gain * min(self.canvas[0] / size[0], self.canvas[1] / size[1])
        width, height = factor * size[1], factor * size[0]
        x = self.centre[0] - (0 if self.quadrant[0] else width)
        y = self.centre[1] - (0 if self.quadrant[1] else height)
        mirror_x = translate(width, 0) @ scale(-1, 1) if self.flip[0] else np.eye(3)
        mirror_y = translate(0, height) @ scale(1, -1) if self.flip[1] else np.eye(3)
        return np.asarray(translate(x, y) @ mirror_x @ mirror_y @ scale(factor, factor))


def mosaic_tiles(
    draws: NDArray[np.float64], flips: NDArray[np.bool_], canvas: Size, policy: Policy
) -> list[MosaicTile]:
    """The four tiles of one canvas from its `draws` [5] (centre x, y, zoom, shift x, y) and `flips` [4,2]."""
    height, width = canvas
    low, high = policy.zoom
    gain = float(low + draws[2] * (high - low))
    shift_x, shift_y = (2 * draws[3:5] - 1) * policy.shift
    # The board's point in [0.5, 1.5] sides, zoomed about the board's centre, which the shift puts near the canvas'.
    x = ((draws[0] - 0.5) * gain + 0.5 + shift_x) * width
    y = ((draws[1] - 0.5) * gain + 0.5 + shift_y) * height
    return [
        MosaicTile(canvas, (float(x), float(y)), quadrant, gain, (bool(flip[0]), bool(flip[1])))
        for quadrant, flip in zip(_QUADRANTS, flips, strict=True)
    ]
