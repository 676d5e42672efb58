"""What of another image comes onto a painted canvas: a share of all of it, a rectangle, or some of its objects.

- mixup: Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018.
- cutmix: Yun, Han, Oh, Chun, Choe, Yoo: CutMix, ICCV 2019, arXiv 1905.04899.
- copy-paste: objects move as the rectangles around them (Dwibedi, Misra, Hebert: Cut, Paste and Learn, ICCV 2017, with
  the surroundings that a box has), at the place that they have on their own canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vision_tasks.config import Policy
from vision_tasks.types import Overlay, Patches, Region, Size, Targets

Row = NDArray[np.float64]  # [DRAWS], in [0,1)

DRAWS = 3  # numbers that one overlay needs


@dataclass(frozen=True)
class Mix:
    """One way to bring another canvas onto an own one."""

    purpose: str  # of its luck
    probability: float
    overlay: Callable[[Patches, Row], Overlay]  # of the other canvas


@dataclass(frozen=True)
class Rectangle:
    """The same region whatever there is to be seen."""

    region: Region

    def __call__(self, truth: Targets) -> list[Region]:
        return [self.region]


@dataclass(frozen=True)
class SomeObjects:
    """Objects drawn at random, with repetition; one that meets an earlier one is left out.

    A picture of two such objects is pasted whole or not at all, so that no box stands for a piece beside the whole.
    """

    draws: tuple[float, ...]

    def __call__(self, truth: Targets) -> list[Region]:
        regions, chosen = truth.regions(), list[Region]()
        for draw in self.draws if regions else ():
            region = regions[int(draw * len(regions))]
            if not any(_meet(region, earlier) for earlier in chosen):
                chosen.append(region)
        return chosen


def mixes(policy: Policy, canvas: Size) -> list[Mix]:
    """What the policy mixes, in the order in which it is done."""
    ways = (
        Mix("copy-paste", policy.copy_paste, _copies),
        Mix("cutmix", policy.cutmix, partial(_cut, canvas)),
        Mix("mixup", policy.mixup, partial(_blended, policy.mixup_alpha)),
    )
    return [way for way in ways if way.probability]


def symmetric_beta(draws: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Numbers [B] of the distribution Beta(alpha, alpha), each from two of `draws` [B,2], uniform in [0,1).

    Devroye: Random variate generation in one line of code, Winter Simulation Conference 1996: a t variate by Bailey's
    polar method, brought to [0,1]. Any alpha > 0; nothing is rejected, so equal draws give equal numbers.
    """
    tail = -np.expm1(np.log1p(-draws[:, 0]) / alpha)
    cos, sin = np.cos(2 * np.pi * draws[:, 1]), np.sin(2 * np.pi * draws[:, 1])
    return np.asarray(0.5 + 0.5 * cos * np.sqrt(tail / (cos**2 + (1 - tail) * sin**2)))


def cut_region(draws: Sequence[float] | Row, canvas: Size) -> Region:
    """A rectangle of the canvas' shape from `draws` [3]: its share of the area, and its centre, x and y.

    It is clipped to the canvas, as in the paper, whose share has the distribution Beta(1, 1), which is uniform.
    """
    height, width = canvas
    x, y, half = draws[1] * width, draws[2] * height, draws[0] ** 0.5 / 2
    x0, x1 = (round(float(np.clip(x + side * half * width, 0, width))) for side in (-1, 1))
    y0, y1 = (round(float(np.clip(y + side * half * height, 0, height))) for side in (-1, 1))
    return x0, y0, x1, y1


def _copies(other: Patches, draws: Row) -> Overlay:
    return Overlay(other, regions=SomeObjects(tuple(draws.tolist())))


def _cut(canvas: Size, other: Patches, draws: Row) -> Overlay:
    return Overlay(other, regions=Rectangle(cut_region(draws, canvas)))


def _blended(alpha: float, other: Patches, draws: Row) -> Overlay:
    return Overlay(other, amount=float(symmetric_beta(draws[None, :2], alpha)[0]))


def _meet(first: Region, second: Region) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
