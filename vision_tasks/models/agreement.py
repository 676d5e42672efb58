"""How far two predictions for the same images say the same: what a faster engine must keep."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

from torch import Tensor

from vision_tasks.types import Boxes, Labels, Masks

CERTAIN, SAME_PLACE = 0.25, 0.9  # score of boxes that count; IoU of boxes that are one


class Agreement(NamedTuple):
    """A share of all that was compared, and the least that is enough."""

    share: float
    least: float

    @property
    def enough(self) -> bool:
        return self.share >= self.least


@singledispatch
def agreement(expected: Any, found: Any) -> Agreement:
    """Images with the same first class; pixels with the same; boxes of a score of 0.25 or more that have a twin.

    A twin has the class and an IoU of 0.9 or more. Where neither has such boxes, all agree.
    """
    raise NotImplementedError(type(expected))


@agreement.register
def _labels(expected: Labels, found: Labels) -> Agreement:
    return Agreement(float((expected.weight.argmax(1) == found.weight.argmax(1)).float().mean()), 0.99)


@agreement.register
def _masks(expected: Masks, found: Masks) -> Agreement:
    return Agreement(float((expected.index == found.index).float().mean()), 0.995)


@agreement.register
def _boxes(expected: Boxes, found: Boxes) -> Agreement:
    matched = total = 0
    for row in range(len(expected)):
        one, other = expected.image(row).above(CERTAIN).flat(), found.image(row).above(CERTAIN).flat()
        twins = _twins(one, other)
        total += twins.shape[0] + twins.shape[1]
        matched += int(twins.any(dim=1).sum() + twins.any(dim=0).sum())
    return Agreement(matched / total if total else 1.0, 0.95)


def _twins(one: Boxes, other: Boxes) -> Tensor:
    """Which boxes are one, bool [N,M]."""
    from torchvision.ops import box_iou  # a second of imports

    same: Tensor = box_iou(one.xyxy[0], other.xyxy[0]) >= SAME_PLACE
    return same & (one.label[0][:, None] == other.label[0][None])
