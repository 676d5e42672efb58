"""COCO's scores of boxes, exactly as pycocotools computes them (10 IoU thresholds 0.50:0.95, 101 recall points).

`map`, `map_50`, `map_75`, `map_small|medium|large` (areas to 32^2, to 96^2, above; a border belongs to both sides) and
`mar_1`, `mar_10`, `mar_100` (with at most so many boxes an image and class), the mean over classes that have a box of
truth. At most 100 boxes an image and class count, the highest scores first. A crowd may be matched any number of times
and is neither a hit nor a miss. Where COCO says -1, because there is no truth to find, the score is nan; where there is
truth and no prediction it is 0.

The area of a box of truth is what its file says (COCO's: that of the outline), else width x height; that of a
prediction is width x height. Truth is what the readers leave of it: what they drop or clip differs from the file's.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and cocoapi's cocoeval.py. The 95 % intervals of map,
map_50, map_75, map by size and mar_100 are corrected for the bias of small sets, see `bootstrap.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.average_precision import averages
from vision_tasks.metrics.base import per_class
from vision_tasks.metrics.bootstrap import Scores, corrected_interval, halves
from vision_tasks.metrics.box_confusion import confusion_matrix
from vision_tasks.metrics.box_rows import RowList, Rows
from vision_tasks.metrics.coco import CocoEvaluation
from vision_tasks.metrics.label_errors import label_errors
from vision_tasks.metrics.matching import SIZES, Matching, Ranked
from vision_tasks.metrics.ratios import Array, mean_of_defined
from vision_tasks.types import Boxes

# Places on the axes of COCO's results (see `CocoEvaluation.curves`).
_IOU_50, _IOU_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_LIMIT_1, _LIMIT_10, _LIMIT_100 = range(3)

# Every fourth of the halves, with its complement, serves sizes: all would cost as much as they do for map.
_FEWER = 4

_EVERY_SIZE = "every"
_ALONE = 500  # images that are scored alone at a time


@dataclass(frozen=True)
class DetectionEvidence:
    """What the boxes of n images matched."""

    images: tuple[str, ...]
    ranked: Mapping[str, Sequence[Ranked]]  # of each class, where boxes of "every" size count, or those of `SIZES`

    def scores(self, draws: NDArray[Any], quick: bool = False) -> Scores:
        """`map`, `map_50`, `map_75`, `mar_100`, each [R], of `draws` [R,n]; unless `quick` also `map` by size."""
        weights = np.ascontiguousarray(draws.T)
        precision, recall = averages(self.ranked[_EVERY_SIZE], weights)
        parts = {"map": precision, "map_50": precision[_IOU_50], "map_75": precision[_IOU_75], "mar_100": recall}
        for size in () if quick else SIZES:
            parts[f"map_{size}"] = averages(self.ranked[size], weights).precision
        return {name: _means(part) for name, part in parts.items()}

    def alone(self) -> Array:
        """`map` of each image; nan without a box of truth."""
        count = len(self.images)
        found = np.empty(count)
        for start in range(0, count, _ALONE):
            own = np.arange(start, min(start + _ALONE, count))
            draws = np.zeros((len(own), count), np.float32)
            draws[own - start, own] = 1
            found[own] = self.scores(draws, quick=True)["map"]
        return found

    def support(self) -> NDArray[np.int64]:
        """Images with a box of each class [K], crowds left out."""
        return np.array([len(np.unique(one.truth)) for one in self.ranked[_EVERY_SIZE]])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Of each size the columns of all classes, one after the other, and how many rows each class has [2,K]."""
        found: dict[str, NDArray[Any]] = {}
        for size, classes in self.ranked.items():
            found[f"{size}.image"] = np.concatenate([one.image for one in classes])
            found[f"{size}.outcome"] = np.concatenate([one.outcome for one in classes], axis=1)
            found[f"{size}.truth"] = np.concatenate([one.truth for one in classes])
            found[f"{size}.rows"] = np.array([[len(one.image), len(one.truth)] for one in classes]).T
        return found

    @classmethod
    def of(cls, images: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> DetectionEvidence:
        """The evidence whose `arrays` these are."""
        return cls(images, {size: _by_class(size, arrays) for size in (_EVERY_SIZE, *SIZES)})


def _by_class(size: str, arrays: Mapping[str, NDArray[Any]]) -> list[Ranked]:
    made, wanted = (np.cumsum(rows)[:-1] for rows in arrays[f"{size}.rows"])
    columns = (
        np.split(arrays[f"{size}.image"], made),
        np.split(arrays[f"{size}.outcome"], made, axis=1),
        np.split(arrays[f"{size}.truth"], wanted),
    )
    return [Ranked(*one) for one in zip(*columns, strict=True)]


class DetectionMetric:
    """Mean average precision of boxes; keeps every box, at 32 bytes each, or 56 where its numbers are a file's."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._images: list[str] = []
        self._truth = RowList()
        self._predictions = RowList()

    def update(self, prediction: Boxes, truth: Boxes, image: str) -> None:
        """Count one image: boxes with scores against boxes of truth, both B = 1 in original pixels."""
        assert prediction.score is not None
        self._images.append(image)
        self._truth.add(truth, truth.crowd.numpy())
        self._predictions.add(prediction, prediction.score.numpy())

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """The scores named above, `images`, and per class `map`, `map_50` and `boxes` (of truth, without crowds).

        With `intervals` also the intervals, and what a person looks into: `curves` (see `_curves`), `confusion` (rows
        [K+1][K+1], see `box_confusion.py`), `errors` (by kind, see `CocoEvaluation.tide`) and `label_errors` (see
        `label_errors.py`).
        """
        truth, predictions = self._truth.rows(), self._predictions.rows()
        coco = CocoEvaluation(len(self._images), len(self._classes), truth, predictions)
        precision, recall, confidence = (np.where(found > -1, found, np.nan) for found in coco.curves())
        scores = _scores(precision, recall)
        found = {**scores, "images": len(self._images), "per_class": self._per_class(precision, truth)}
        if not intervals:
            return found
        return {
            **found,
            **_intervals(scores, self.evidence()),
            "curves": self._curves(
                precision[_IOU_50, ..., _ALL, _LIMIT_100], confidence[_IOU_50, ..., _ALL, _LIMIT_100]
            ),
            "confusion": confusion_matrix(predictions, truth, len(self._classes)).tolist(),
            "errors": coco.tide(),
            "label_errors": label_errors(predictions, truth, self._images, self._classes),
        }

    def evidence(self) -> DetectionEvidence:
        """What was counted so far."""
        matching = Matching(self._predictions.rows(), self._truth.rows(), len(self._classes))
        by_size = {size: matching.ranked(areas) for size, areas in SIZES.items()}
        return DetectionEvidence(tuple(self._images), {_EVERY_SIZE: matching.ranked(), **by_size})

    def _per_class(self, precision: Array, truth: Rows) -> dict[str, dict[str, Any]]:
        by_class = precision[..., _ALL, _LIMIT_100]  # [10,101,K]
        columns = {
            "map": mean_of_defined(by_class.reshape(-1, len(self._classes)).T),
            "map_50": mean_of_defined(by_class[_IOU_50].T),
            "boxes": np.bincount(truth.label[truth.value == 0], minlength=len(self._classes)),
        }
        return per_class(self._classes, columns)

    def _curves(self, precision: Array, confidence: Array) -> dict[str, dict[str, list[float]]]:
        """{class: {"precision", "confidence"}} at recall 0, 0.01, ... 1 and IoU 0.5, from [101,K].

        `precision` is the best at that recall or beyond, 0 where it is not reached; `confidence` is the threshold that
        reaches the recall. Classes without truth have no curve.
        """
        return {
            name: {"precision": precision[:, i].round(6).tolist(), "confidence": confidence[:, i].round(6).tolist()}
            for i, name in enumerate(self._classes)
            if not np.isnan(precision[0, i])
        }


def _scores(precision: Array, recall: Array) -> dict[str, float]:
    """From COCO's arrays with nan for what is undefined."""
    best = precision[..., _LIMIT_100]
    parts = {
        "map": best[..., _ALL],
        "map_50": best[_IOU_50, ..., _ALL],
        "map_75": best[_IOU_75, ..., _ALL],
        "map_small": best[..., _SMALL],
        "map_medium": best[..., _MEDIUM],
        "map_large": best[..., _LARGE],
        "mar_1": recall[..., _ALL, _LIMIT_1],
        "mar_10": recall[..., _ALL, _LIMIT_10],
        "mar_100": recall[..., _ALL, _LIMIT_100],
    }
    return {name: float(mean_of_defined(part.ravel())) for name, part in parts.items()}


def _intervals(scores: dict[str, float], evidence: DetectionEvidence) -> dict[str, list[float]]:
    weights = halves(len(evidence.images))
    found = evidence.scores(weights.T, quick=True)
    fewer = np.ascontiguousarray(weights[:, ::_FEWER])
    for size in SIZES:
        found[f"map_{size}"] = _means(averages(evidence.ranked[size], fewer).precision)
    return {f"{name}_ci": corrected_interval(scores[name], values) for name, values in found.items()}


def _means(part: Array) -> Array:
    """Over thresholds and classes: [R] from [10,K,R] or [K,R]."""
    return mean_of_defined(part.reshape(prod(part.shape[:-1]), part.shape[-1]).T)
