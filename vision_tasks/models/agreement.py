"""How far two predictions for the same images say the same: what a faster engine must keep."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vision_tasks.types import Boxes, Labels, Masks

CERTAIN, SAME_PLACE = 0.25, 0.9  # score of boxes that count; IoU of boxes that are one
LEAST = 0.2  # score of a twin: rounding takes some boxes from one side of a threshold to the other


class Agreement(NamedTuple):
    """How much of what was compared is the same, and the least share that is enough."""

    same: int
    compared: int
    least: float

    @property
    def share(self) -> float:
        """1 where there was nothing to compare."""
        return self.same / self.compared if self.compared else 1.0

    @property
    def enough(self) -> bool:
        return self.share >= self.least


def pooled(found: Iterable[Agreement]) -> Agreement:
    """One of all, at least one: images without anything to compare don't speak for others."""
    each = list(found)
    return Agreement(sum(one.same for one in each), sum(one.compared for one in each), each[0].least)


@singledispatch
def agreement(expected: Any, found: Any) -> Agreement:
    """Images with the same first class; pixels with the same; boxes of a score of 0.25 or more that have a twin.

    A twin has the class, an IoU of 0.9 or more, and a score of 0.2 or more.
    """
    raise NotImplementedError(type(expected))


@agreement.register
def _labels(expected: Labels, found: Labels) -> Agreement:
    same = expected.weight.argmax(1) == found.weight.argmax(1)
    return Agreement(int(same.sum()), same.numel(), 0.99)


@agreement.register
def _masks(expected: Masks, found: Masks) -> Agreement:
    same = expected.index == found.index
    return Agreement(int(same.sum()), same.numel(), 0.995)


@agreement.register
def _boxes(expected: Boxes, found: Boxes) -> Agreement:
    matched = total = 0
    for row in range(len(expected)):
        one, other = (boxes.image(row).above(LEAST).flat() for boxes in (expected, found))
        twins = _twins(one, other)
        has_twin = torch.cat([twins.any(dim=1), twins.any(dim=0)])
        counts = torch.cat([_is_certain(one), _is_certain(other)])
        total += int(counts.sum())
        matched += int((has_twin & counts).sum())
    return Agreement(matched, total, 0.95)


def _is_certain(boxes: Boxes) -> Tensor:
    """Which boxes of one image count, bool [N]."""
    assert boxes.score is not None  # these are predictions
    return boxes.score[0] >= CERTAIN


def _twins(one: Boxes, other: Boxes) -> Tensor:
    """Which boxes are one, bool [N,M]."""
    from torchvision.ops import box_iou  # a second of imports

    same: Tensor = box_iou(one.xyxy[0], other.xyxy[0]) >= SAME_PLACE
    return same & (one.label[0][:, None] == other.label[0][None])
