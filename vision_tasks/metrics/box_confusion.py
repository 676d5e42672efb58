"""The confusion matrix of boxes: which class is taken for which, what is missed, what is seen where nothing is.

Predictions of at least 0.25 count. In each image, boxes of truth and predictions of any class are paired at IoU 0.5 or
more, the largest overlaps first, each box once. What is left over is missed (last column) or seen on background (last
row); what is left over inside a crowd is neither. Both limits are those that ultralytics and others use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.box_rows import Flags, Index, Pairs, Rows, overlapping

CONFIDENCE = 0.25
IOU = 0.5


def confusion_matrix(predictions: Rows, truth: Rows, classes: int) -> NDArray[np.int64]:
    """Boxes [K+1,K+1] by truth (rows) and prediction (columns); the last of each is background."""
    predictions = predictions.take(predictions.value >= CONFIDENCE)
    pairs = overlapping(predictions, truth, (predictions.image, truth.image), IOU)
    crowd = truth.value == 1
    couples = one_to_one(pairs.take(~crowd[pairs.truth]))
    alone, missed = np.ones(len(predictions.label), np.bool_), ~crowd
    alone[pairs.prediction[crowd[pairs.truth]]] = False
    alone[couples.prediction] = False
    missed[couples.truth] = False
    rows = [truth.label[couples.truth], truth.label[missed], np.full(np.count_nonzero(alone), classes)]
    columns = [
        predictions.label[couples.prediction],
        np.full(np.count_nonzero(missed), classes),
        predictions.label[alone],
    ]
    cell = np.concatenate(rows) * (classes + 1) + np.concatenate(columns)
    return np.bincount(cell, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def one_to_one(pairs: Pairs) -> Pairs:
    """The pairs that are left when the largest IoU comes first and each box is paired once; of equals the first."""
    pairs = pairs.take(np.argsort(-pairs.iou, kind="stable"))
    kept = []
    while len(pairs.iou):
        # A pair that is first for both of its boxes is chosen, whatever becomes of the others.
        chosen = _first(pairs.prediction) & _first(pairs.truth)
        kept.append(pairs.take(chosen))
        gone = np.isin(pairs.prediction, kept[-1].prediction) | np.isin(pairs.truth, kept[-1].truth)
        pairs = pairs.take(~gone)
    return Pairs(*(np.concatenate(column) for column in zip(*kept, strict=True))) if kept else pairs


def _first(index: Index) -> Flags:
    """Where a value stands for the first time."""
    found = np.zeros(len(index), np.bool_)
    found[np.unique(index, return_index=True)[1]] = True
    return found
