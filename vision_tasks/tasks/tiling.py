"""Tiles: how a large image is divided into overlapping squares, and what a task does with a prediction for each.

Neighbours share a quarter of a tile or more. Of what they share, the outer sixteenth of a tile counts nothing, for a
network sees only one side of what lies there; over the next eighth one tile fades into the other. So a network whose
receptive field reaches no further than a sixteenth of a tile says the same as of the whole image. A quarter (also the
default of MONAI's sliding windows) makes 16/9 of the image's pixels; a half would make 4 times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.types import Region, Size, T

V = TypeVar("V")
Part = tuple[int, int, int]  # first and behind the last pixel along one axis, and how many tiles count between them

SMALLEST_TILE = 32  # pixels: networks halve an image about five times
_OVERLAP = 4  # a tile's side over what neighbours share at least
_FADE = 8  # a tile's side over the length on which one fades into the next


@dataclass(frozen=True)
class Tile:
    """A part of an image that is predicted on a canvas of its own."""

    region: Region  # in original pixels, inside the image
    weight: tuple[Tensor, Tensor]  # float32 [h], [w]: down and across; those of all tiles sum to 1 everywhere
    parts: tuple[Sequence[Part], Sequence[Part]]  # down and across: where the weight isn't 0
    inner: tuple[bool, bool, bool, bool]  # whether the image goes on beyond the edge x0, y0, x1, y1

    @classmethod
    def whole(cls, size: Size) -> Tile:
        """The image itself."""
        (down,), (across,) = _spans(size[0], size[0]), _spans(size[1], size[1])
        return cls((0, 0, size[1], size[0]), (down.weight, across.weight), (down.parts, across.parts), (False,) * 4)


def tiles_of(size: Size, side: int) -> Sequence[Tile]:
    """Tiles of `side` pixels that cover an image of `size`, row by row; smaller only where the image is."""
    rows, columns = _spans(size[0], side), _spans(size[1], side)
    return OnDemand(len(rows) * len(columns), partial(_tile, rows, columns))


@dataclass(frozen=True)
class OnDemand(Sequence[V]):
    """A sequence whose items are made when they are asked for: there may be hundreds of thousands of tiles."""

    length: int
    make: Callable[[int], V]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[V]: ...
    def __getitem__(self, index: int | slice) -> V | Sequence[V]:
        chosen = range(self.length)[index]
        return self.make(chosen) if isinstance(chosen, int) else [self.make(each) for each in chosen]


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
    overview: bool = False  # whether the whole image on one canvas is wanted, too: as last tile, `Tile.whole`


@dataclass(frozen=True)
class _Span:
    """A tile along one axis."""

    start: int
    end: int
    weight: Tensor  # float32 [end - start]
    parts: Sequence[Part]


def _tile(rows: Sequence[_Span], columns: Sequence[_Span], number: int) -> Tile:
    row, column = divmod(number, len(columns))
    down, across = rows[row], columns[column]
    inner = column > 0, row > 0, column + 1 < len(columns), row + 1 < len(rows)
    region = across.start, down.start, across.end, down.end
    return Tile(region, (down.weight, across.weight), (down.parts, across.parts), inner)


def _spans(length: int, side: int) -> list[_Span]:
    """The tiles along one axis of an image, evenly spread."""
    starts = _starts(length, side)
    ends = [min(length, start + side) for start in starts]
    # One fades into the next about the middle of what they share.
    seams = [(end + after) / 2 for end, after in zip(ends, starts[1:], strict=False)]
    weights = map(partial(_weight, side), starts, ends, [None, *seams], [*seams, None])
    return list(map(_Span, starts, ends, weights, _parts(length, seams, side)))


def _parts(length: int, seams: Sequence[float], side: int) -> list[list[Part]]:
    """The parts of each tile: what it has to itself, between what it shares with the one before and the next."""
    half = side / (2 * _FADE)
    fades = [(math.floor(seam - half - 0.5) + 1, math.ceil(seam + half - 0.5)) for seam in seams]
    bounds = [0, *chain.from_iterable(fades), length]
    parts = [(start, end, 1 + i % 2) for i, (start, end) in enumerate(pairwise(bounds))]
    return [[part for part in parts[max(0, i - 1) : i + 2] if part[0] < part[1]] for i in range(0, len(parts), 2)]


def _weight(side: int, start: int, end: int, rise: float | None, fall: float | None) -> Tensor:
    return torch.from_numpy(_rise(start, end, rise, side) - _rise(start, end, fall, side, 0.0)).float()


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
