"""Boxes of many images as one table, and the pairs among them that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.ratios import Array
from vision_tasks.types import Boxes

Index = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Rows(NamedTuple):
    """A row a box, image by image; a box is x, y, width, height, as COCO computes with."""

    image: Index  # [N]
    box: Array  # [N,4], pixels
    label: Index  # [N]
    value: Array  # [N]: the score of a prediction; 1 for a truth that is a crowd, else 0
    area: Array  # [N], pixels: width x height, unless a file says something else of truth

    def take(self, keep: Index | Flags) -> Rows:
        """The rows at `keep`."""
        return Rows(self.image[keep], self.box[keep], self.label[keep], self.value[keep], self.area[keep])


class Pairs(NamedTuple):
    """Predictions and truths that overlap."""

    prediction: Index  # [M], rows
    truth: Index  # [M], rows
    iou: Array  # [M]; with a crowd, the covered share of the prediction

    def take(self, keep: Index | Flags | slice) -> Pairs:
        """The pairs at `keep`."""
        return Pairs(self.prediction[keep], self.truth[keep], self.iou[keep])


class RowList:
    """Collects the boxes of images, one image after the other."""

    def __init__(self) -> None:
        self._columns: list[tuple[NDArray[Any], ...]] = []

    def add(self, boxes: Boxes, value: NDArray[Any]) -> None:
        """The valid boxes of the next image, B = 1, with `value` [1,N]."""
        valid = boxes.valid[0].numpy()
        area = np.full(len(valid), np.nan, np.float32) if boxes.area is None else boxes.area[0].numpy()
        columns = boxes.xyxy[0].numpy(), boxes.label[0].numpy(), value[0], area
        self._columns.append(tuple(column[valid] for column in columns))

    def rows(self) -> Rows:
        """Everything, in the order in which it was added."""
        columns = [*zip(*self._columns, strict=True)] or [(), (), (), ()]
        counts = [len(label) for label in columns[1]]
        decimal = np.repeat([xyxy.dtype == np.float64 for xyxy in columns[0]], counts).astype(np.bool_)
        box = _xywh(_joined(columns[0], np.float64).reshape(-1, 4), decimal)
        area = _joined(columns[3], np.float64)
        return Rows(
            np.repeat(np.arange(len(counts)), counts),
            box,
            _joined(columns[1], np.int64),
            _joined(columns[2], np.float64),
            np.where(np.isnan(area), box[:, 2] * box[:, 3], area),
        )

    def __len__(self) -> int:
        return len(self._columns)


def overlapping(predictions: Rows, truth: Rows, group: tuple[Index, Index], least: float) -> Pairs:
    """Pairs of equal `group` (of predictions, of truth) whose IoU is at least `least`, which is above 0.

    In the order of the predictions, and for one prediction in the order of the truth.
    """
    of_predictions, of_truth = group
    by_group = np.argsort(of_truth, kind="stable")
    start = np.searchsorted(of_truth[by_group], of_predictions)
    count = np.searchsorted(of_truth[by_group], of_predictions, side="right") - start
    prediction = np.repeat(np.arange(len(of_predictions)), count)
    place = np.arange(len(prediction)) + np.repeat(start - np.cumsum(count) + count, count)
    partner = by_group[place]
    iou = _iou(predictions.box[prediction], truth.box[partner], truth.value[partner] == 1)
    return Pairs(prediction, partner, iou).take(iou >= least)


def starts(index: NDArray[Any]) -> Index:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.diff(index, prepend=index[:1] - 1))


def _xywh(xyxy: Array, decimal: Flags) -> Array:
    """[N,4]; `decimal` [N] are boxes whose numbers are a file's.

    Their width was added to their left edge, which costs its last bits; no file means more than nine decimals. Without
    those bits a box lies on the other side of an IoU threshold that it meets exactly.
    """
    size = xyxy[:, 2:] - xyxy[:, :2]
    size[decimal] = size[decimal].round(9)
    return np.concatenate([xyxy[:, :2], size], axis=1)


def _joined(parts: Sequence[NDArray[Any]], kind: type[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *(part.ravel() for part in parts)], dtype=kind)


def _iou(boxes: Array, others: Array, crowd: Flags) -> Array:
    """[M] of `boxes` and `others` [M,4], rounded as cocoapi's bbIou rounds."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    side = np.maximum(high - low, 0)
    shared, own = side[:, 0] * side[:, 1], boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, own, own + others[:, 2] * others[:, 3] - shared)
    iou: Array = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return iou
