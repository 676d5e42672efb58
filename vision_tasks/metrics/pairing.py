"""Whether one model is better than another: both scored on the same resampled images.

Two models err on the same hard images, so their difference varies less than each score does, and it is the difference
that is resampled. Draws are those of the corrected intervals in `bootstrap.py`: random halves of the images, which are
moved until their mean lies as far beyond the difference as a bias would; two models have nearly the same bias, so this
moves little. What is left of it is a distribution around the true difference; the p-value is that of 0 in a normal
distribution of its centre and width, because a thousand draws can't tell small ones, and many pairs need small ones.

A normal distribution knows nothing of how few images speak. If only m images tell the models apart, then by luck alone
all of them would speak for the same model once in 2^(m-1) times: no p-value is below that (the sign test's smallest).

Politis, Romano, Wolf: Subsampling, 1999, chapter 2. Holm: A simple sequentially rejective multiple test procedure,
Scandinavian Journal of Statistics, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, nan, sqrt
from typing import NamedTuple

import numpy as np

from vision_tasks.metrics.bootstrap import PERCENTILES, corrected
from vision_tasks.metrics.ratios import Array


class Difference(NamedTuple):
    """Between two models."""

    value: float  # as measured
    low: float  # 95 % interval, corrected for bias; nan without any draw in which both are defined
    high: float
    p: float  # two-sided


def difference(scores: tuple[float, float], of_halves: tuple[Array, Array], differing: int) -> Difference:
    """The first model's score less the second's, from their scores and those on the same `halves` [R] each.

    `differing` is the number of images on which the two are not equally good.
    """
    value = scores[0] - scores[1]
    draws = of_halves[0] - of_halves[1]
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return Difference(value, nan, nan, 1.0)
    moved = corrected(value, draws)
    low, high = np.percentile(moved, PERCENTILES)
    return Difference(value, float(low), float(high), max(_two_sided(moved), min(1.0, 2.0 ** (1 - differing))))


def holm(p: Sequence[float]) -> list[float]:
    """P-values of a family of tests, corrected so that one false alarm among all has the chance that each says."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * factors), 1)
    return [float(each) for each in found]


def _two_sided(draws: Array) -> float:
    centre, width = abs(draws.mean()), draws.std()
    if width > 0:
        return erfc(centre / width / sqrt(2))
    return 0.0 if centre > 0 else 1.0
