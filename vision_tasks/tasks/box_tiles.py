"""Boxes of tiles become the boxes of their image: what several tiles saw of one object is one box.

Two boxes of different tiles are of one object if they have one class and, within the region that both tiles see, an
intersection over union of 0.5 or more. So pieces of an object that tiles cut are joined however large it is, while
objects that touch one another stay apart: where both are seen, they are in different places. (Greedy merging by the
intersection over the smaller area, as in SAHI, Akyon et al. 2022, joins pieces only if what is shared is half of one of
them, and joins small objects to large ones in front of which they are.)

The pairs that are most certain and most alike are joined first, and never two boxes of one tile: networks give hundreds
of boxes that they hardly believe in, and none of those may take the place of one that they do. A box far less certain
than another only disappears in it.

Of boxes that are joined and of comparable certainty, the most certain one that no tile cut is taken; where all are cut,
the rectangle around them; the score is the highest. The whole image is seen once more on one canvas, for objects that
are larger than a tile: smaller ones are seen better there, if only in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vision_tasks.geometry import scale
from vision_tasks.tasks.tiling import Stitch, Tile
from vision_tasks.types import Boxes, Size

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

_SAME = 0.5  # intersection over union
_COMPARABLE = 1 / 4  # of the higher score
_CUT = 1 / 64  # of a tile's side: boxes that end so close to an inner edge are taken for cut
_WHOLE, _FROM_AFAR, _PIECE = range(3)  # how well an object was seen, the best first


class BoxStitching:
    """Collects the boxes of all tiles, in the image's pixels."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._regions: list[Sequence[int]] = []
        self._seen: list[tuple[Floats, Numbers, Floats, Numbers]] = []  # of each tile: boxes, labels, scores, how well

    def add(self, tile: Tile, part: Boxes) -> None:
        """Move the boxes of a tile to where it lies."""
        boxes = part.flat()
        assert boxes.score is not None
        xyxy = boxes.xyxy[0].double().numpy() + np.tile(tile.region[:2], 2)
        how_well = np.where(_cut(xyxy, tile), _PIECE, _WHOLE) if any(tile.inner) else np.full(len(xyxy), _FROM_AFAR)
        keep = slice(None) if any(tile.inner) else self._large(xyxy)
        columns = xyxy, boxes.label[0].numpy(), boxes.score[0].double().numpy(), how_well
        self._regions.append(tile.region)
        self._seen.append(tuple(column[keep] for column in columns))  # type: ignore[arg-type]

    def result(self) -> Boxes:
        """One box an object."""
        return self._joined

    def shrunk(self, factor: int) -> Boxes:
        """The result in the pixels of a smaller picture."""
        height, width = self._size
        matrix = torch.from_numpy(scale(1 / factor, 1 / factor))[None]
        return self._joined.warp(matrix, (-(-height // factor), -(-width // factor)))

    @cached_property
    def _joined(self) -> Boxes:
        xyxy, label, score, how_well = (np.concatenate(column) for column in zip(*self._seen, strict=True))
        tile = np.repeat(np.arange(len(self._seen)), [len(boxes) for boxes, *_ in self._seen])
        group = grouped(xyxy, label, score, tile, np.array(self._regions, dtype=np.float64))
        highest = _highest(score, group)
        counted = ~(score < _COMPARABLE * highest[group])
        # Of each group the best-seen box that counts comes first, and of several the most certain one.
        order = np.lexsort((-score, how_well, ~counted, group))
        first = order[np.unique(group[order], return_index=True)[1]]
        around = _around(xyxy[counted], group[counted])
        return Boxes.single(
            torch.from_numpy(np.where(how_well[first, None] == _PIECE, around, xyxy[first])),
            torch.from_numpy(label[first]),
            score=torch.from_numpy(highest),
        )

    def _large(self, xyxy: Floats) -> NDArray[np.bool_]:
        """Which boxes are larger than a tile."""
        x0, y0, x1, y1 = self._regions[0]
        return np.asarray((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0) > max(x1 - x0, y1 - y0))


def grouped(xyxy: Floats, label: Numbers, score: Floats, tile: Numbers, regions: Floats) -> Numbers:
    """Numbers 0, 1, ... [N] of the objects that boxes [N,4] are of; `tile` [N] says in which of `regions` [T,4]."""
    groups = _Groups(tile, score)
    for one, two in _surest_pairs(xyxy, label, score, tile, regions):
        groups.join(one, two)
    return groups.numbers()


class _Groups:
    """Sets of boxes, each at first alone; no set gets two boxes of one tile."""

    def __init__(self, tile: Numbers, score: Floats) -> None:
        self._parent = list(range(len(tile)))
        self._tiles = [{number} for number in tile.tolist()]
        self._score = score.tolist()

    def join(self, one: int, two: int) -> None:
        """Make one set of those of two boxes, if it may be."""
        strong, weak = (one, two) if self._score[one] >= self._score[two] else (two, one)
        # A box that is hardly believed in says nothing about which others are of one object.
        apart = self._score[weak] < _COMPARABLE * self._score[strong] and not self._alone(weak)
        one, two = self._root(one), self._root(two)
        if not apart and self._tiles[one].isdisjoint(self._tiles[two]):
            self._parent[two] = one
            self._tiles[one] |= self._tiles[two]

    def numbers(self) -> Numbers:
        """The set of each box."""
        roots = [self._root(box) for box in range(len(self._parent))]
        return np.asarray(np.unique(roots, return_inverse=True)[1].reshape(-1), np.int64)

    def _alone(self, box: int) -> bool:
        return len(self._tiles[self._root(box)]) == 1

    def _root(self, box: int) -> int:
        while self._parent[box] != box:
            self._parent[box] = self._parent[self._parent[box]]
            box = self._parent[box]
        return box


def _surest_pairs(xyxy: Floats, label: Numbers, score: Floats, tile: Numbers, regions: Floats) -> list[tuple[int, int]]:
    """Pairs of boxes of different tiles that are of one object, by the lower score times how much they overlap."""
    rows = np.split(np.arange(len(tile)), np.searchsorted(tile, np.arange(1, len(regions))))
    certainties, ones, twos = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for one, two, shared in _meeting(regions):
        overlap = _overlap(_clipped(xyxy[rows[one]], shared), _clipped(xyxy[rows[two]], shared))
        i, j = np.nonzero((overlap >= _SAME) & (label[rows[one]][:, None] == label[rows[two]]))
        ones.append(rows[one][i])
        twos.append(rows[two][j])
        certainties.append(overlap[i, j] * np.minimum(score[ones[-1]], score[twos[-1]]))
    order = np.argsort(-np.concatenate(certainties), kind="stable")
    pairs = np.stack([np.concatenate(ones), np.concatenate(twos)], axis=1)[order]
    return [(one, two) for one, two in pairs.tolist()]


def _meeting(regions: Floats) -> Iterator[tuple[int, int, Floats]]:
    """Pairs of tiles that see something in common, and what."""
    for one, region in enumerate(regions):
        others = regions[one + 1 :]
        low, high = np.maximum(region[:2], others[:, :2]), np.minimum(region[2:], others[:, 2:])
        for two in np.flatnonzero((low < high).all(axis=1)).tolist():
            yield one, one + 1 + two, np.concatenate([low[two], high[two]])


def _clipped(xyxy: Floats, region: Floats) -> Floats:
    return np.concatenate([xyxy[:, :2].clip(region[:2], region[2:]), xyxy[:, 2:].clip(region[:2], region[2:])], axis=1)


def _overlap(one: Floats, two: Floats) -> Floats:
    """Intersection over union [N,M] of boxes [N,4] and [M,4]; 0 where a box is empty."""
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, two)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9))


def _cut(xyxy: Floats, tile: Tile) -> NDArray[np.bool_]:
    """Which boxes reach an inner edge of their tile, [N]."""
    x0, y0, x1, y1 = tile.region
    near = np.abs(xyxy - np.array(tile.region)) <= _CUT * max(x1 - x0, y1 - y0)
    return np.asarray((near & np.array(tile.inner)).any(axis=1))


def _around(xyxy: Floats, group: Numbers) -> Floats:
    """The rectangle around the boxes of each group."""
    count = int(group.max(initial=-1)) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, group, xyxy[:, :2])
    np.maximum.at(high, group, xyxy[:, 2:])
    return np.concatenate([low, high], axis=1)


def _highest(score: Floats, group: Numbers) -> Floats:
    """The score of each group's most certain box."""
    highest = np.zeros(int(group.max(initial=-1)) + 1)
    np.maximum.at(highest, group, score)
    return highest


@contextmanager
def _open(folder: Path, size: Size, num_classes: int) -> Iterator[BoxStitching]:
    yield BoxStitching(size)


BOX_TILES: Stitch[Boxes] = Stitch(_open, overview=True)
