"""Scores of whole-image classification where an image may have several classes at once, or none.

- `map`: mean over classes of average precision, the sum over thresholds of (gain in recall) x precision, without
  interpolation; images of equal probability enter together (scikit-learn's `average_precision_score`).
- `macro_f1`: mean over classes of F1 at the class's best threshold, which is the highest of those that tie. It is
  chosen on the images that are scored, so this says how well a class can be told apart by a threshold, not what a
  threshold chosen before would have reached.
- A class that no image has is undefined (nan) and left out of both means; scikit-learn would count it 0.
- A prediction that isn't finite claims no class at any threshold: the classes of its image are missed.
- The interval of `macro_f1` holds the thresholds; other images don't get thresholds of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.base import per_class
from vision_tasks.metrics.bootstrap import Scores, estimate, sums_by
from vision_tasks.metrics.ratios import Array, mean_of_defined, ratio
from vision_tasks.types import Labels

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ManyLabelEvidence:
    """What is known of n images."""

    images: tuple[str, ...]
    probability: NDArray[np.float32]  # [n,K]; -inf where a prediction isn't finite
    truth: Flags  # [n,K]

    def columns(self) -> Iterator[tuple[NDArray[np.float32], Flags]]:
        """Probability [n] and truth [n] of each class."""
        return zip(self.probability.T, self.truth.T, strict=True)

    @cached_property
    def thresholds(self) -> Array:
        """The best of each class [K], on all images."""
        return np.array([_best_threshold(*column) for column in self.columns()])

    def scores(self, draws: NDArray[Any], quick: bool = False) -> Scores:
        """`map` and `macro_f1`, each [R], of `draws` [R,n]; the thresholds stay."""
        return _scores(self, draws)

    def alone(self) -> Array:
        """1 less the mean over classes of how far the probability is off: a ranking needs more than one image."""
        return np.asarray(1 - np.abs(self.probability.clip(0, 1) - self.truth).mean(axis=1), np.float64)

    def support(self) -> NDArray[np.int64]:
        """Images that have each class [K]."""
        return np.asarray(self.truth.sum(axis=0))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`probability` and `truth`."""
        return {"probability": self.probability, "truth": self.truth}

    @classmethod
    def of(cls, images: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> ManyLabelEvidence:
        """The evidence whose `arrays` these are."""
        return cls(images, arrays["probability"], arrays["truth"])


class ManyLabelMetric:
    """Average precision and F1 of each class for itself; keeps 5 bytes an image and class, and names of images."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._names: list[str] = []
        self._probability: list[NDArray[np.float32]] = []  # each [K]
        self._truth: list[Flags] = []  # each [K]

    def update(self, prediction: Labels, truth: Labels, image: str) -> None:
        """Count one image: probabilities [1,K] against several-hot truth [1,K]; ValueError for other truth."""
        hot = truth.weight.numpy()[0]
        if not ((hot == 0) | (hot == 1)).all():
            raise ValueError(f"several-hot truth is needed, 0 or 1 for each class; got {hot.tolist()}")
        self._names.append(image)
        probability = prediction.weight.float().numpy()[0]
        self._probability.append(probability if np.isfinite(probability).all() else np.full_like(probability, -np.inf))
        self._truth.append(hot == 1)

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """`map`, `macro_f1`, their `_ci`, `images` and `per_class`.

        Per class: `average_precision`, `f1` and `threshold` (probabilities from it on are claims; nan without claims
        that would be right), `images` that have the class.
        """
        images = self.evidence()
        precision, f1 = _by_class(images, np.ones((1, len(images.truth))))
        columns = {
            "average_precision": precision[0],
            "f1": f1[0],
            "threshold": images.thresholds,
            "images": images.truth.sum(axis=0),
        }
        return {
            **estimate(len(images.truth), images.scores, intervals),
            "images": len(images.truth),
            "per_class": per_class(self._classes, columns),
        }

    def evidence(self) -> ManyLabelEvidence:
        """What was counted so far."""
        shape = (len(self._truth), len(self._classes))
        return ManyLabelEvidence(
            tuple(self._names),
            np.array(self._probability, dtype=np.float32).reshape(shape),
            np.array(self._truth, dtype=np.bool_).reshape(shape),
        )


def _scores(images: ManyLabelEvidence, draws: NDArray[Any]) -> Scores:
    """The headline scores [R] when each image counts as often as `draws` [R,n] says."""
    precision, f1 = _by_class(images, draws)
    return {"map": mean_of_defined(precision), "macro_f1": mean_of_defined(f1)}


def _by_class(images: ManyLabelEvidence, draws: NDArray[Any]) -> tuple[Array, Array]:
    """Average precision and F1 at the thresholds, both [R,K]."""
    precision = [_average_precision(*column, draws) for column in images.columns()]
    claimed = (images.probability >= images.thresholds).T
    f1 = [_f1(claims, positive, draws) for claims, positive in zip(claimed, images.truth.T, strict=True)]
    return np.stack(precision, axis=1), np.stack(f1, axis=1)


def _average_precision(scores: NDArray[np.float32], positive: Flags, draws: Array) -> Array:
    """[R]; nan where no image that counts is positive."""
    _, hits, claims = _curve(scores, positive, draws)
    precision = hits / np.maximum(claims, 1)  # no claims, no hits
    gain = np.diff(hits, axis=1, prepend=0)
    return ratio((gain * precision).sum(axis=1), draws @ positive)


def _f1(claimed: Flags, positive: Flags, draws: Array) -> Array:
    """[R]; nan where no image that counts is positive."""
    claims, positives, hits = (draws @ np.stack([claimed, positive, claimed & positive], axis=1)).T
    return np.where(positives > 0, ratio(2 * hits, claims + positives), np.nan)


def _best_threshold(scores: NDArray[np.float32], positive: Flags) -> float:
    thresholds, hits, claims = _curve(scores, positive, np.ones((1, len(scores))))
    f1 = 2 * hits[0] / (claims[0] + positive.sum())
    return float(thresholds[f1.argmax()]) if len(f1) else float("nan")


def _curve(scores: NDArray[np.float32], positive: Flags, draws: Array) -> tuple[NDArray[np.float32], Array, Array]:
    """Thresholds [M] falling, and the hits and claims [R,M] from each threshold on.

    Thresholds are the scores of positive images, for at any other the next one above claims less and hits as much.
    """
    thresholds = np.unique(scores[positive & np.isfinite(scores)])
    # The place in a falling list of thresholds of the first that each image reaches; past its end for none.
    first = len(thresholds) - np.searchsorted(thresholds, scores, side="right")
    size = len(thresholds) + 1
    counts = sums_by(draws, 2 * first + positive, 2 * size).reshape(len(draws), size, 2)[:, :-1].cumsum(axis=1)
    return thresholds[::-1], counts[..., 1], counts[..., 0] + counts[..., 1]
