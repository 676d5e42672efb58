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

_AT_ONCE = 4_000_000  # draws held at a time: 32 MB


def estimate(images: int, scores: Callable[[Array], Scores], intervals: bool) -> dict[str, Any]:
    """Each score of the images as they are and, with `intervals`, its `<score>_ci`: [low, high]."""
    found: dict[str, Any] = {name: float(values[0]) for name, values in scores(np.ones((1, images))).items()}
    if intervals:
        resampled = [scores(draws) for draws in _resamples(images)]
        found |= {f"{name}_ci": _interval([part[name] for part in resampled]) for name in tuple(found)}
    return found


def sums_by(draws: Array, index: NDArray[np.int64], size: int, value: Array | None = None) -> Array:
    """[R,size]: in each resample, the sum of `value` [n] (1 unless given) over the images of each `index` [n]."""
    return np.stack([np.bincount(index, row if value is None else row * value, size) for row in draws])


def _resamples(images: int) -> Iterator[Array]:
    """Draws [R,n], in parts that fit into memory; none for fewer than two images."""
    luck = np.random.default_rng(0)
    rows = max(1, _AT_ONCE // max(1, images))
    for start in range(0, RESAMPLES if images > 1 else 0, rows):
        draws = np.empty((min(rows, RESAMPLES - start), images))
        for row in draws:
            row[:] = np.bincount(luck.integers(images, size=images), minlength=images)
        yield draws


def _interval(parts: Sequence[Array]) -> list[float]:
    values = np.concatenate([np.empty(0), *parts])
    defined = values[~np.isnan(values)]
    return [float(end) for end in np.percentile(defined, PERCENTILES)] if defined.size else [nan, nan]
