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
- A prediction that isn't finite is wrong, has confidence 0 and is no class's prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.types import Labels

BINS = 15


class ClassificationMetric:
    """Accuracy, F1 and calibration; keeps four numbers an image."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._records: list[tuple[int, int, int, float]] = []  # label, predicted class, rank of the label, confidence

    def update(self, prediction: Labels, truth: Labels) -> None:
        """Count one image: probabilities [1,K] against one-hot truth [1,K]."""
        probability = prediction.weight[0].double().numpy()
        label = int(truth.weight[0].argmax())
        if not np.isfinite(probability).all():
            nothing = len(self._classes)
            self._records.append((label, nothing, nothing, 0.0))
            return
        predicted = int(probability.argmax())
        own = probability[label]
        rank = int((probability > own).sum() + (probability[:label] == own).sum())
        self._records.append((label, predicted, rank, float(probability[predicted])))

    def compute(self) -> dict[str, Any]:
        """`top1`, `accuracy`, `top5`, `macro_f1`, `ece` (all nan without images), `images`, `per_class`.

        Per class: `precision` (nan if never predicted), `recall` (nan without images), `f1` (nan without either),
        `images`.
        """
        columns = np.array(self._records, dtype=np.float64).reshape(-1, 4)
        label, predicted, rank = columns[:, :3].astype(np.int64).T
        per_class = _per_class(label, predicted, len(self._classes))
        top1 = _mean(rank == 0)
        return {
            "top1": top1,
            "accuracy": top1,
            "top5": _mean(rank < 5),
            "macro_f1": _mean(per_class["f1"][~np.isnan(per_class["f1"])]),
            "ece": _calibration_error(columns[:, 3], rank == 0),
            "images": len(label),
            "per_class": {
                name: {score: values[i].item() for score, values in per_class.items()}
                for i, name in enumerate(self._classes)
            },
        }


def _per_class(label: NDArray[np.int64], predicted: NDArray[np.int64], count: int) -> dict[str, NDArray[Any]]:
    """Each score as an array [K]."""
    images = np.bincount(label, minlength=count)
    claims = np.bincount(predicted, minlength=count + 1)[:count]
    right = np.bincount(label[label == predicted], minlength=count)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: undefined, and meant
        return {
            "precision": right / claims,
            "recall": right / images,
            "f1": 2 * right / (claims + images),
            "images": images,
        }


def _calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    if not len(confidence):
        return float("nan")
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
