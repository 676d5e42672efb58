"""Scores of whole-image classification with one class an image.

- `top1` (= `accuracy`): share of images whose label has the highest probability. Among equal probabilities the class
  that comes first wins, as with argmax, so that a constant prediction is not right everywhere.
- `top5`: share of images whose label is among the five highest; with five classes or fewer it is 1 by definition, since
  every class is among them.
- `macro_f1`: mean of F1 over the classes that occur, in truth or as a prediction (scikit-learn's `f1_score(average=
  "macro")` with its own labels). A class that occurs in neither says nothing and is left out; one that is only
  predicted counts 0.
- `ece`: expected calibration error of the highest probability, 15 equal bins (k/15, (k+1)/15]. Guo et al., On
  Calibration of Modern Neural Networks, ICML 2017, section 2.
- `confusion`: images by truth (rows) and prediction (columns), [K][K+1].
- A prediction that isn't finite is wrong, has confidence 0 and is no class's prediction: the confusion matrix counts it
  in its last column, so that each row sums up to the images of its class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.base import per_class
from vision_tasks.metrics.bootstrap import Scores, estimate, sums_by
from vision_tasks.metrics.ratios import Array, mean_of_defined, ratio
from vision_tasks.types import Labels

BINS = 15


@dataclass(frozen=True)
class ClassificationEvidence:
    """What is known of n images, a column each."""

    images: tuple[str, ...]
    classes: int
    label: NDArray[np.int64]  # [n]
    predicted: NDArray[np.int64]  # [n], K for a prediction that isn't finite
    rank: NDArray[np.int64]  # [n] of the label; 0 is the best
    confidence: Array  # [n]

    def scores(self, draws: NDArray[Any], quick: bool = False) -> Scores:
        """`top1`, `accuracy`, `top5`, `macro_f1`, `ece`, each [R], of `draws` [R,n]."""
        return _scores(self, draws)

    def alone(self) -> Array:
        """1 where the prediction is right, else 0."""
        return np.asarray(self.rank == 0, np.float64)

    def support(self) -> NDArray[np.int64]:
        """Images of each class [K]."""
        return np.bincount(self.label, minlength=self.classes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns, and `classes` []."""
        return {
            "classes": np.array(self.classes),
            "label": self.label,
            "predicted": self.predicted,
            "rank": self.rank,
            "confidence": self.confidence,
        }

    @classmethod
    def of(cls, images: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> ClassificationEvidence:
        """The evidence whose `arrays` these are."""
        columns = (arrays[name] for name in ("label", "predicted", "rank", "confidence"))
        return cls(images, int(arrays["classes"]), *columns)


class ClassificationMetric:
    """Accuracy, F1 and calibration; keeps four numbers an image, and its name."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._names: list[str] = []
        self._records: list[tuple[int, int, int, float]] = []  # label, predicted class, rank of the label, confidence

    def update(self, prediction: Labels, truth: Labels, image: str) -> None:
        """Count one image: probabilities [1,K] against one-hot truth [1,K]; ValueError for other truth."""
        probability = prediction.weight[0].numpy().astype(np.float64)
        label = _only_class(truth.weight.numpy()[0])
        self._names.append(image)
        if not np.isfinite(probability).all():
            nothing = len(self._classes)
            self._records.append((label, nothing, nothing, 0.0))
            return
        predicted = int(probability.argmax())
        own = probability[label]
        rank = int(np.count_nonzero(probability > own) + np.count_nonzero(probability[:label] == own))
        self._records.append((label, predicted, rank, float(probability[predicted])))

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """`top1`, `accuracy`, `top5`, `macro_f1`, `ece` (all nan without images), their `_ci`, and more.

        That is `images`, `confusion` (a list of rows) and `per_class`: `precision` (nan if never predicted), `recall`
        (nan without images), `f1` (nan without either), `images`.
        """
        images, count = self.evidence(), len(self._classes)
        confusion = np.bincount(images.label * (count + 1) + images.predicted, minlength=count * (count + 1))
        confusion = confusion.reshape(count, count + 1)
        return {
            **estimate(len(images.label), images.scores, intervals),
            "images": len(images.label),
            "confusion": confusion.tolist(),
            "per_class": per_class(self._classes, _columns(confusion)),
        }

    def evidence(self) -> ClassificationEvidence:
        """What was counted so far."""
        columns = np.array(self._records, dtype=np.float64).reshape(-1, 4)
        label, predicted, rank = columns[:, :3].astype(np.int64).T
        return ClassificationEvidence(tuple(self._names), len(self._classes), label, predicted, rank, columns[:, 3])


def _only_class(truth: NDArray[np.float32]) -> int:
    label = int(truth.argmax())
    if truth[label] != 1 or np.count_nonzero(truth) != 1:
        raise ValueError(f"one-hot truth is needed, with 1 for the image's only class; got {truth.tolist()}")
    return label


def _columns(confusion: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Each score of the classes [K]."""
    right, images, claims = np.diagonal(confusion), confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
    return {
        "precision": ratio(right, claims),
        "recall": ratio(right, images),
        "f1": ratio(2 * right, claims + images),
        "images": images,
    }


def _scores(images: ClassificationEvidence, draws: NDArray[Any]) -> Scores:
    """The headline scores [R] when each image counts as often as `draws` [R,n] says."""
    total = draws.sum(axis=1)
    top1 = ratio(draws @ (images.rank == 0), total)
    return {
        "top1": top1,
        "accuracy": top1,
        "top5": ratio(draws @ (images.rank < 5), total),
        "macro_f1": _macro_f1(images, draws),
        "ece": ratio(_calibration_gaps(images, draws), total),
    }


def _macro_f1(images: ClassificationEvidence, draws: NDArray[Any]) -> Array:
    classes = images.classes
    truth = sums_by(draws, images.label, classes)
    claims = sums_by(draws, images.predicted, classes + 1)[:, :-1]
    hit = images.label == images.predicted
    right = sums_by(draws[:, hit], images.label[hit], classes)
    return mean_of_defined(ratio(2 * right, truth + claims))


def _calibration_gaps(images: ClassificationEvidence, draws: NDArray[Any]) -> Array:
    """Over bins, the sum of |right - confidence|, not yet divided by the number of images."""
    bins = np.clip(np.ceil(images.confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = (images.rank == 0) - images.confidence
    return np.asarray(np.abs(sums_by(draws, bins, BINS, gap)).sum(axis=1))
