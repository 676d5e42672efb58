"""Tiles: how a large image is divided into overlapping squares, and what a task does with a prediction for each.

Neighbours share a quarter of a tile or more. Of what they share, the outer sixteenth of a tile counts nothing, for a
network sees only one side of what lies there; over the next eighth one tile fades into the other. So a network whose
receptive field reaches no further than a sixteenth of a tile says the same as of the whole image. A quarter (also the
default of MONAI's sliding windows) makes 16/9 of the image's pixels; a half would make 4 times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.types import Region, Size, T

_OVERLAP = 4  # a tile's side over what neighbours share at least
_FADE = 8  # a tile's side over the length on which one fades into the next


@dataclass(frozen=True)
class Tile:
    """A part of an image that is predicted on a canvas of its own."""

    region: Region  # in original pixels, inside the image
    weight: tuple[Tensor, Tensor]  # float32 [h], [w]: down and across; those of all tiles sum to 1 everywhere
    inner: tuple[bool, bool, bool, bool]  # whether the image goes on beyond the edge x0, y0, x1, y1

    @classmethod
    def whole(cls, size: Size) -> Tile:
        """The image itself."""
        return cls((0, 0, size[1], size[0]), (torch.ones(size[0]), torch.ones(size[1])), (False,) * 4)


def tiles_of(size: Size, side: int) -> list[Tile]:
    """Tiles of `side` pixels that cover an image of `size`, row by row; smaller only where the image is."""
    rows, columns = _spans(size[0], side), _spans(size[1], side)
    return [
        Tile((x0, y0, x1, y1), (down, across), (x0 > 0, y0 > 0, x1 < size[1], y1 < size[0]))
        for y0, y1, down in rows
        for x0, x1, across in columns
    ]


class Stitching(Protocol[T]):
    """The tiles of one image on their way to one prediction."""

    def add(self, tile: Tile, part: T) -> None:
        """Take what was predicted for a tile, in pixels of its region; tiles come in the order of `tiles_of`."""

    def result(self) -> T:
        """The image's prediction, once all tiles are there."""

    def shrunk(self, factor: int) -> T:
        """The result for a picture of which each pixel stands for `factor` x `factor` of the image's."""


@dataclass(frozen=True)
class Stitch(Generic[T]):
    """How a task makes one prediction of those of tiles."""

    open: Callable[[Path, Size, int], AbstractContextManager[Stitching[T]]]
    # ^ (folder for what memory should not hold, size of the image, number of classes)
    view: bool = False  # whether the whole image on one canvas is wanted, too: as last tile, `Tile.whole`


def _spans(length: int, side: int) -> list[tuple[int, int, Tensor]]:
    """(start, end, weight) of each tile along one axis of an image, evenly spread."""
    starts = _starts(length, side)
    # One fades into the next about the middle of what they share.
    seams = [(start + side + after) / 2 for start, after in pairwise(starts)]
    ends = [min(length, start + side) for start in starts]
    rises = [None, *seams]
    falls = [*seams, None]
    return [
        (start, end, torch.from_numpy(_rise(start, end, rise, side) - _rise(start, end, fall, side, 0.0)).float())
        for start, end, rise, fall in zip(starts, ends, rises, falls, strict=True)
    ]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    steps = -(-(length - side) // (side - side // _OVERLAP))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def _rise(start: int, end: int, seam: float | None, side: int, without: float = 1.0) -> NDArray[np.float64]:
    """From 0 to 1 about the seam, at the centres of pixels; `without` a seam the same everywhere."""
    if seam is None:
        return np.full(end - start, without)
    share = ((np.arange(start, end) + 0.5 - seam) * (_FADE / side) + 0.5).clip(0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * share))
