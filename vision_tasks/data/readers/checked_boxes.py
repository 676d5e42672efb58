"""What is checked of every box, whatever the format that it comes from.

- A box with a corner that is no finite number, without an area, or outside its image but for less than float32 can tell
  apart is dropped.
- A box partly outside is clipped. Reaching out by less than files round their numbers to (0.02 px, or 0.0001 of a side
  where boxes are shares of it) is no flaw.
- A box that an image has twice, of the same class and corners, is kept once: no detector is to find an object twice.

Each is told in words that readers make a flaw of, with the file's own name for the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Size

Edges = tuple[float, float, float, float]  # x0, y0, x1, y1: pixel edges, or shares of the sides

_PIXEL_ROUNDING = 0.02
_SHARE_ROUNDING = 1e-4
_RESOLUTION = 2.0**-22  # relative; networks learn in float32, which can't tell closer edges apart
_TURNED = 5  # EXIF orientations from here on swap height and width
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class CheckedBoxes:
    """The usable boxes of one image."""

    edges: NDArray[np.float64]  # [N,4]
    label: NDArray[np.int64]  # [N]
    crowd: NDArray[np.bool_]  # [N]
    area: NDArray[np.float64]  # [N], pixels, as the file says it; nan where it doesn't

    @property
    def teaches(self) -> bool:
        """Whether there is a box to learn from, which a crowd is not."""
        return not self.crowd.all()

    def in_pixels(self, unit: Size = (1, 1)) -> Boxes:
        """The boxes in pixel edges, where one of them is `unit` (height, width) pixels."""
        xyxy = torch.from_numpy(self.edges * (unit[1], unit[0], unit[1], unit[0]))
        label, crowd, area = (torch.from_numpy(each.copy()) for each in (self.label, self.crowd, self.area))
        return Boxes.single(xyxy, label, crowd, area=area)


class BoxList:
    """Takes the boxes of one image as its file has them, and keeps what is usable."""

    def __init__(self, height: float, width: float, frame: str, rounding: float) -> None:
        self._height, self._width = height, width
        self._frame, self._rounding = frame, rounding
        self._rows: dict[tuple[Edges, int, bool], float] = {}  # with their areas

    @classmethod
    def in_pixels(cls, size: Size | None) -> BoxList:
        """For pixel edges in an image of `size`; without one, nothing is known of where it ends."""
        if size is None:
            return cls(math.inf, math.inf, "the image", _PIXEL_ROUNDING)
        return cls(*size, f"the image of {size[1]}x{size[0]}", _PIXEL_ROUNDING)

    @classmethod
    def in_shares(cls) -> BoxList:
        """For edges as shares of the image's sides, in [0, 1]."""
        return cls(1, 1, "the image", _SHARE_ROUNDING)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, edges: Edges, label: int, crowd: bool = False, area: float = math.nan) -> str:
        """Take one box; returns what is wrong with it and what was done about that, "" for nothing."""
        inside, problem = self._inside(edges)
        if inside is None:
            return problem
        if (row := (inside, label, crowd)) in self._rows:
            return "is listed twice: kept once"
        self._rows[row] = area
        return problem

    def checked(self) -> CheckedBoxes:
        """What is usable, in the order of the file."""
        edges, label, crowd = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        return CheckedBoxes(
            np.array(edges, np.float64).reshape(-1, 4),
            np.array(label, np.int64),
            np.array(crowd, np.bool_),
            np.array([*self._rows.values()], np.float64),
        )

    def _inside(self, edges: Edges) -> tuple[Edges | None, str]:
        """The part of a box inside the image, None for a box to be dropped, and what is wrong with it."""
        x0, y0, x1, y1 = edges
        if not all(map(math.isfinite, edges)):
            return None, "has a corner that is no finite number: dropped"
        if not _has_area(edges):
            return None, "has no area: dropped"
        inside = left, top, right, bottom = max(x0, 0.0), max(y0, 0.0), min(x1, self._width), min(y1, self._height)
        if not _has_area(inside):
            return None, f"lies outside {self._frame}: dropped"
        beyond = max(left - x0, top - y0, x1 - right, y1 - bottom)
        problem = f"reaches outside {self._frame}: clipped" if beyond > self._rounding else ""
        return inside, problem


def _has_area(edges: Edges) -> bool:
    x0, y0, x1, y1 = edges
    return x1 - x0 > _RESOLUTION * abs(x1) and y1 - y0 > _RESOLUTION * abs(y1)


def pixel_truth(boxes: CheckedBoxes, annotation: str, annotated: Size | None, size: Size | None) -> Boxes:
    """The truth of an image of `size` whose `annotation` (in words) is for `annotated`.

    Raises DecodeError if the two differ: where such boxes lie can't be known.
    """
    if size and annotated and annotated != size:
        said, seen = (f"{width}x{height}" for height, width in (annotated, size))
        turned = ", perhaps turned by its EXIF orientation" if annotated == size[::-1] else ""
        raise DecodeError(f"its annotation ({annotation}) is for {said}, the image is {seen}{turned}; mend one of them")
    return boxes.in_pixels()


def share_truth(boxes: CheckedBoxes, image: Path, size: Size | None) -> Boxes:
    """The truth of an image of `size`, of boxes in shares of its sides; raises UserError as `size_of` does."""
    return boxes.in_pixels(size or size_of(image))


def size_of(image: Path) -> Size:
    """(height, width) after EXIF rotation, by the file's header. Raises UserError."""
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION, 1) >= _TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{image}: can't be opened, and its annotation doesn't give its size: {error}") from error
    return (width, height) if turned else (height, width)
