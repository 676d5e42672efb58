"""How far a score could have come out otherwise with other images of the same kind: 95 % intervals by the bootstrap.

Images are drawn with replacement, as many as there are, 1000 times; the interval lies between the 2.5th and the 97.5th
percentile of the score over these resamples. Efron, Tibshirani: An Introduction to the Bootstrap, 1993, section 13.3.

A metric gives its scores as a function of `draws` [R,n]: how often each of n images counts in each of R resamples. The
score itself is the case in which every image counts once, so score and interval can't follow different formulas. All
scores see the same resamples, and the same images in the same order always give the same interval.

- A resample in which a score is undefined is left out of that score's interval.
- One image, or none, says nothing about other images: the interval is [nan, nan].
- A score that is the same for every image (all right, say) has an interval without width, although more images could
  bring other results: the percentile bootstrap knows no images but those it was given.

**Scores with a bias.** Mean average precision comes out higher on few images than on many: precision is taken from the
luckiest place of each ranking, and the fewer boxes, the more luck. A resample, in which only 63 % of the images occur,
is luckier still, and so the percentile interval lies too high. Here the draws are random halves of the images, without
replacement: scores of halves vary around their mean as much as scores of all images do around theirs (Politis, Romano,
Wolf: Subsampling, 1999, chapter 2), no image occurs twice, and what a half has more than the whole says how the bias
falls. Between all images and infinitely many lies about twice as much: that is a bias falling as n^-0.58, where the
theory of such maxima has n^(-1/2) to n^(-2/3), and simulations have 1.5 to 2.5 times. So the halves' percentiles are
moved until their mean is the score less twice the halves' excess. Coverage of the 95 % interval for map, map_50, map_75
of simulated data, against the same population's 40,000 images (`percentile`: the plain bootstrap there):

    images  classes  data sets  covered by this       percentile         bias / standard deviation of map
       100        5        100  0.96  0.95  0.93      0.83  0.83  0.83    1.0
       300        1        100  0.91  0.92  0.90                          0.1
       200       20        100  0.97  0.96  0.97                          1.5
       100       20         60                        0.58  0.63  0.63    1.3
       200       40         40                        0.15  0.20  0.23    2.4
       300       80         60  0.87  0.92  0.88      0.03  0.05  0.08    2.7
      1000       20         50  0.92  0.94  0.92                          1.0

and of another kind of simulated data, which the tests draw:

       100        5        100  0.91  0.93  0.90      0.88  0.90  0.95
       150       20        100  0.96  0.93  0.91      0.63  0.69  0.74
       300       80        100  0.89  0.91  0.91      0.14  0.34  0.37

and of a third kind, displaced, missed, misnamed and invented boxes of three sizes, through the whole metric:

       150       20         80  0.93  0.94  0.91      0.55              1.3

there 0.89, 0.86 and 0.90 for map of small, medium and large boxes, and 0.97 for mar_100, which has no bias there.

So 86 to 97 % is reached where 95 % is aimed at, least for boxes of one size. The score itself may lie above its
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.ratios import Array

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

Scores = dict[str, Array]  # by name, each [R]

_EXCESS = 3  # from the mean of halves to the score, and twice as far beyond
_AT_ONCE = 1_000_000  # draws held at a time: 8 MB


def estimate(images: int, scores: Callable[[Array], Scores], intervals: bool) -> dict[str, Any]:
    """Each score of the images as they are and, with `intervals`, its `<score>_ci`: [low, high]."""
    found: dict[str, Any] = {name: float(values[0]) for name, values in scores(np.ones((1, images))).items()}
    if intervals:
        resampled = [scores(draws) for draws in _resamples(images)]
        found |= {f"{name}_ci": _interval([part[name] for part in resampled]) for name in tuple(found)}
    return found


def halves(images: int) -> NDArray[np.float32]:
    """Weights [n,R] float32: random halves, 1 where an image is in, and their complements; R = 0 for n < 2."""
    luck = np.random.default_rng(0)
    first = np.zeros((RESAMPLES // 2 if images > 1 else 0, images), np.float32)
    for row in first:
        row[luck.permutation(images)[: images // 2]] = 1
    return np.ascontiguousarray(np.concatenate([first, 1 - first]).T)


def corrected_interval(score: float, of_halves: Array) -> list[float]:
    """The 95 % interval of a score in [0, 1] that few images make too high, from its values [R] on `halves`."""
    defined = of_halves[~np.isnan(of_halves)]
    if not defined.size:
        return [nan, nan]
    ends = np.percentile(corrected(score, defined), PERCENTILES)
    return [float(end) for end in ends.clip(0, 1)]


def corrected(score: float, of_halves: Array) -> Array:
    """Values on `halves` [R], moved to where those of other sets of images lie, as far as `score` tells."""
    return np.asarray(of_halves - _EXCESS * (of_halves.mean() - score), np.float64)


def sums_by(draws: Array, index: NDArray[np.int64], size: int, value: Array | None = None) -> Array:
    """[R,size]: in each resample, the sum of `value` [n] (1 unless given) over the images of each `index` [n]."""
    order = np.argsort(index, kind="stable")
    present, starts = np.unique(index[order], return_index=True)
    grouped = draws[:, order] if value is None else draws[:, order] * value[order]
    sums = np.zeros((len(draws), size))
    if len(present):
        sums[:, present] = np.add.reduceat(grouped, starts, axis=1)
    return sums


def _resamples(images: int) -> Iterator[Array]:
    """Draws [R,n], in parts that fit into memory; none for fewer than two images."""
    luck = np.random.default_rng(0)
    rows = max(1, _AT_ONCE // max(1, images))
    for start in range(0, RESAMPLES if images > 1 else 0, rows):
        count = min(rows, RESAMPLES - start)
        drawn = luck.integers(images, size=(count, images)) + np.arange(count)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def _interval(parts: Sequence[Array]) -> list[float]:
    values = np.concatenate([np.empty(0), *parts])
    defined = values[~np.isnan(values)]
    return [float(end) for end in np.percentile(defined, PERCENTILES)] if defined.size else [nan, nan]
