"""Which predicted box is a hit at which IoU threshold, as COCO's evaluation decides it.

In each image and class, predictions choose in the order of their scores: each takes the truth that it overlaps most
and that nobody took before, the last of equals. Where none is left, it may lie in a crowd: then it is neither hit nor
miss, and the crowd stays. A hundred predictions an image and class choose.

Where only boxes of a size count, truth of other sizes is left to those who find none of that size; who takes it is
neither hit nor miss, and nor is a box of another size that finds nothing.

What an image's boxes match depends on no other image. So it is found once, and resampling images only weighs it anew.
cocoapi's cocoeval.py, `evaluateImg`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.box_rows import Flags, Index, Pairs, Rows, overlapping, starts
from vision_tasks.metrics.ratios import Array

THRESHOLDS = np.linspace(0.5, 0.95, 10)
LIMIT = 100  # predictions an image and class

HIT, MISS, NEITHER = 1, 0, -1

Areas = tuple[float, float]  # square pixels; both ends belong to the range
EVERY: Areas = (0, 1e10)
SIZES: dict[str, Areas] = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


class Ranked(NamedTuple):
    """One class's predictions of all images, by falling score."""

    image: Index  # [D]
    outcome: NDArray[np.int8]  # [10,D]: HIT, MISS or NEITHER at each threshold
    truth: Index  # [G], the image of each box to be found


class Matching:
    """Predictions beside the truth of their image and class, of which they then choose."""

    def __init__(self, predictions: Rows, truth: Rows, classes: int) -> None:
        self._classes, self._truth, self._crowd = classes, truth, truth.value == 1
        images = 1 + max(predictions.image.max(initial=0), truth.image.max(initial=0))
        group = predictions.label * images + predictions.image
        order = np.lexsort((-predictions.value, group))
        rank = np.arange(len(order)) - np.repeat(*_runs(group[order]))
        self._predictions, self._rank = predictions.take(order[rank < LIMIT]), rank[rank < LIMIT]
        groups = group[order[rank < LIMIT]], truth.label * images + truth.image
        self._pairs = overlapping(self._predictions, truth, groups, THRESHOLDS[0])

    def ranked(self, areas: Areas = EVERY) -> list[Ranked]:
        """The outcome of every prediction that may be hit or miss where boxes of such areas count, class by class."""
        ignored = self._crowd | _outside(self._truth.area, areas)
        outcome = _chosen(self._pairs, self._rank, self._crowd, ignored)
        outcome[(outcome == MISS) & _outside(self._predictions.area, areas)] = NEITHER
        counted = np.flatnonzero((outcome != NEITHER).any(axis=0))
        own = self._predictions.take(counted)
        by_score = np.lexsort((own.image, -own.value, own.label))
        own, outcome = own.take(by_score), outcome[:, counted[by_score]]
        wanted = self._truth.take(np.flatnonzero(~ignored))
        wanted = wanted.take(np.argsort(wanted.label, kind="stable"))
        return [
            Ranked(own.image[made], outcome[:, made], wanted.image[found])
            for made, found in zip(_slices(own.label, self._classes), _slices(wanted.label, self._classes), strict=True)
        ]


def _outside(area: Array, areas: Areas) -> Flags:
    return (area < areas[0]) | (area > areas[1])


def _chosen(pairs: Pairs, rank: Index, crowd: Flags, ignored: Flags) -> NDArray[np.int8]:
    """Outcomes [10,D] when those of equal `rank` [D] choose at the same time: they are of different groups."""
    # The last that is free is the best: ignored ones come first, then IoU rises.
    order = np.lexsort((pairs.truth, pairs.iou, ~ignored[pairs.truth], pairs.prediction, rank[pairs.prediction]))
    pairs = pairs.take(order)
    outcome = np.zeros((len(THRESHOLDS), len(rank)), np.int8)
    taken = np.zeros((len(THRESHOLDS), len(crowd)), np.bool_)
    for begin, end in pairwise([*starts(rank[pairs.prediction]), len(order)]):
        own = pairs.take(slice(begin, end))
        free = (own.iou >= THRESHOLDS[:, None]) & ~taken[:, own.truth]
        places = np.where(free, np.arange(end - begin), -1)
        best = np.maximum.reduceat(places, starts(own.prediction), axis=1)
        threshold, which = np.nonzero(best >= 0)
        winner = best[threshold, which]
        truth = own.truth[winner]
        taken[threshold, truth] = ~crowd[truth]
        outcome[threshold, own.prediction[winner]] = np.where(ignored[truth], NEITHER, HIT)
    return outcome


def _runs(index: Index) -> tuple[Index, Index]:
    """Where runs of equal values begin, and how long they are."""
    begin = starts(index)
    return begin, np.diff(begin, append=len(index))


def _slices(label: Index, classes: int) -> list[slice]:
    """Where each class stands in sorted labels."""
    ends = np.searchsorted(label, np.arange(classes + 1))
    return [slice(*pair) for pair in pairwise(ends)]
