"""Which predicted box is a hit at which IoU threshold, as COCO's evaluation decides it.

In each image and class, predictions choose in the order of their scores: each takes the truth that it overlaps most
and that nobody took before, the last of equals. Where none is left, it may lie in a crowd: then it is neither hit nor
miss, and the crowd stays. A hundred predictions an image and class choose.

What an image's boxes match depends on no other image. So it is found once, and resampling images only weighs it anew.
cocoapi's cocoeval.py, `evaluateImg`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.box_rows import Flags, Index, Pairs, Rows, overlapping, starts

THRESHOLDS = np.linspace(0.5, 0.95, 10)
LIMIT = 100  # predictions an image and class

HIT, MISS, NEITHER = 1, 0, -1


class Ranked(NamedTuple):
    """One class's predictions of all images, by falling score."""

    image: Index  # [D]
    outcome: NDArray[np.int8]  # [10,D]: HIT, MISS or NEITHER at each threshold
    truth: Index  # [G], the image of each box to be found


def ranked(predictions: Rows, truth: Rows, classes: int) -> list[Ranked]:
    """The outcome of every prediction, class by class."""
    order, outcome = _outcomes(predictions, truth)
    taking_part = predictions.take(order)
    by_score = np.lexsort((taking_part.image, -taking_part.value, taking_part.label))
    image, label = taking_part.image[by_score], taking_part.label[by_score]
    wanted = truth.take(np.flatnonzero(truth.value == 0))
    wanted = wanted.take(np.argsort(wanted.label, kind="stable"))
    return [
        Ranked(image[own], outcome[:, by_score[own]], wanted.image[found])
        for own, found in zip(_slices(label, classes), _slices(wanted.label, classes), strict=True)
    ]


def _outcomes(predictions: Rows, truth: Rows) -> tuple[Index, NDArray[np.int8]]:
    """The rows of predictions that take part [D], and their outcomes [10,D]."""
    images = 1 + max(predictions.image.max(initial=0), truth.image.max(initial=0))
    group = predictions.label * images + predictions.image
    order = np.lexsort((-predictions.value, group))
    rank = np.arange(len(order)) - np.repeat(*_runs(group[order]))
    order, rank = order[rank < LIMIT], rank[rank < LIMIT]
    groups = group[order], truth.label * images + truth.image
    pairs = overlapping(predictions.take(order), truth, groups, THRESHOLDS[0])
    return order, _chosen(pairs, rank, truth.value == 1)


def _chosen(pairs: Pairs, rank: Index, crowd: Flags) -> NDArray[np.int8]:
    """Outcomes [10,D] when those of equal `rank` [D] choose at the same time: they are of different groups."""
    # The last that is free is the best: crowds come first, then IoU rises.
    order = np.lexsort((pairs.truth, pairs.iou, ~crowd[pairs.truth], pairs.prediction, rank[pairs.prediction]))
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
        in_crowd = crowd[own.truth[winner]]
        taken[threshold, own.truth[winner]] = ~in_crowd
        outcome[threshold, own.prediction[winner]] = np.where(in_crowd, NEITHER, HIT)
    return outcome


def _runs(index: Index) -> tuple[Index, Index]:
    """Where runs of equal values begin, and how long they are."""
    begin = starts(index)
    return begin, np.diff(begin, append=len(index))


def _slices(label: Index, classes: int) -> list[slice]:
    """Where each class stands in sorted labels."""
    ends = np.searchsorted(label, np.arange(classes + 1))
    return [slice(*pair) for pair in pairwise(ends)]
