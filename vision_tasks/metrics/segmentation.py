"""Scores of semantic segmentation, all from counts of pixels.

With TP, FP and FN in pixels of a class: IoU = TP / (TP + FP + FN), dice = 2 TP / (2 TP + FP + FN).

- `miou` (= `iou`): IoU of each class over all pixels of the data set, then the mean over classes: what papers and
  benchmarks report. `dice`: the same with dice.
- `miou_per_image`: the mean over the classes of one image, then over images: every image weighs the same, whatever its
  size. It is another number than `miou`, often by far.
- `pixel_accuracy`: share of pixels that are right.
- `boundary_iou`: as `miou`, but of each mask only the pixels near its boundary count (`metrics/boundary.py`): small
  objects and fine outlines weigh as much as the insides of large areas.
- `confusion`: pixels by truth (rows) and prediction (columns), [K][K+1]; the last column is of no class.
- A class that occurs neither in truth nor in predictions (of the data set, or for `miou_per_image` of the image) is
  undefined (nan) and left out of the mean; a class that is only predicted counts 0.
- Pixels whose truth is 255 count nowhere; for boundaries they are outside the image, in both masks. A *predicted* 255
  where truth has a class is a miss of that class and no false alarm of another: else a model could leave out the pixels
  it finds hard.
- An image without any counted pixel is left out of `miou_per_image`.
- Each score has its 95 % interval over images, `<score>_ci` (`metrics/bootstrap.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.errors import UserError
from vision_tasks.metrics.base import per_class
from vision_tasks.metrics.bootstrap import Scores, estimate
from vision_tasks.metrics.boundary import ignored_where, near_boundary
from vision_tasks.metrics.pixel_pairs import VALUES, pair_counts
from vision_tasks.metrics.ratios import Array, mean_of_defined, ratio
from vision_tasks.types import IGNORE, Masks

WORST = 8  # images that are named


@dataclass(frozen=True)
class SegmentationEvidence:
    """What is known of n images."""

    images: tuple[str, ...]
    counts: Array  # [n,1 or 2,3,K], see `_overlap`; the second is of boundaries

    @cached_property
    def miou(self) -> Array:
        """Of each image [n], nan for one without any counted pixel."""
        return mean_of_defined(_ratios(self.counts[:, 0])[0])

    def scores(self, draws: NDArray[Any], quick: bool = False) -> Scores:
        """`miou`, `iou`, `dice`, `pixel_accuracy`, `miou_per_image` and with boundaries `boundary_iou`, each [R]."""
        return _scores(self, draws)

    def alone(self) -> Array:
        """The mean IoU of each image."""
        return self.miou

    def support(self) -> NDArray[np.int64]:
        """Images whose truth shows each class [K]."""
        return np.asarray((self.counts[:, 0, 1] > 0).sum(axis=0))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`counts`, whole numbers."""
        return {"counts": self.counts.astype(np.int64)}

    @classmethod
    def of(cls, images: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> SegmentationEvidence:
        """The evidence whose `arrays` these are."""
        return cls(images, arrays["counts"].astype(np.float64))


class SegmentationMetric:
    """Overlap of masks; keeps six numbers an image and class, 48 bytes, on the device of the predictions."""

    def __init__(self, classes: Sequence[str], boundary: bool = True) -> None:
        """`boundary` says whether the scores of boundaries are counted, which takes most of the time."""
        self._classes = tuple(classes)
        self._boundary = boundary
        self._images: list[str] = []
        self._counts: list[Tensor] = []  # each int64 [3,K] or [2,3,K], see `_overlap`; the second is of boundaries
        self._pairs = torch.zeros(VALUES, VALUES, dtype=torch.int64)

    def update(self, prediction: Masks, truth: Masks, image: str) -> None:
        """Count one image: index [1,H,W] against index [1,H,W], on any device. Raises UserError for unequal sizes."""
        predicted = prediction.index[0]
        actual = truth.index[0].to(predicted.device)
        _require_same_size(predicted, actual, image)
        pairs = pair_counts(actual, predicted)
        pairs[IGNORE] = 0
        counts = [_overlap(pairs, len(self._classes))]
        if self._boundary:
            bands = near_boundary(actual), near_boundary(ignored_where(predicted, actual == IGNORE))
            counts.append(_overlap(pair_counts(*bands), len(self._classes)))
        self._images.append(image)
        self._counts.append(torch.stack(counts))
        self._pairs = self._pairs.to(pairs.device).add_(pairs)

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """The scores named above, their `_ci`, `images`, `confusion`, and more; ValueError for unknown truth.

        That is `worst`, the images of the lowest `miou`, `[{"image", "miou"}]`, and `per_class`: `iou`, `dice`,
        `boundary_iou` and `pixels` (of truth).
        """
        confusion = self._confusion()
        evidence = self.evidence()
        return {
            **estimate(len(self._images), evidence.scores, intervals),
            "images": len(self._images),
            "confusion": confusion.tolist(),
            "per_class": per_class(self._classes, _columns(evidence.counts.sum(axis=0))),
            "worst": self._worst(evidence.miou),
        }

    def evidence(self) -> SegmentationEvidence:
        """What was counted so far."""
        counts = np.zeros((0, 1 + self._boundary, 3, len(self._classes)))
        if self._counts:
            counts = np.asarray(torch.stack(self._counts).cpu().numpy(), np.float64)
        return SegmentationEvidence(tuple(self._images), counts)

    def _confusion(self) -> NDArray[np.int64]:
        """[K,K+1]; raises ValueError where truth has other classes."""
        pairs, classes = self._pairs.cpu().numpy(), len(self._classes)
        if pairs[classes:].any():
            raise ValueError(f"truth has a class beyond the {classes} known")
        return np.column_stack([pairs[:classes, :classes], pairs[:classes, classes:].sum(axis=1)])

    def _worst(self, miou: Array) -> list[dict[str, Any]]:
        lowest_first = np.argsort(miou, kind="stable")[: np.count_nonzero(~np.isnan(miou))][:WORST]
        return [{"image": self._images[i], "miou": float(miou[i])} for i in lowest_first]


def _require_same_size(predicted: Tensor, truth: Tensor, image: str) -> None:
    if predicted.shape != truth.shape:
        (height, width), (true_height, true_width) = predicted.shape, truth.shape
        raise UserError(
            f"{image}: its predicted mask is {width}x{height} pixels, but its truth is {true_width}x{true_height}; "
            "predict masks at the size of the original image"
        )


def _overlap(pairs: Tensor, classes: int) -> Tensor:
    """Pixels of each class, int64 [3,K]: that are right, of truth, of the prediction."""
    return torch.stack([pairs.diagonal()[:classes], pairs[:classes].sum(dim=1), pairs[:, :classes].sum(dim=0)])


def _scores(images: SegmentationEvidence, draws: NDArray[Any]) -> Scores:
    """The scores [R] when each image counts as often as `draws` [R,n] says."""
    counts, per_image = images.counts, images.miou
    sums = np.tensordot(draws, counts, 1)  # [R,1 or 2,3,K]
    iou, dice = _ratios(sums[:, 0])
    counted = ~np.isnan(per_image)
    miou = mean_of_defined(iou)
    near = {"boundary_iou": mean_of_defined(_ratios(sums[:, 1])[0])} if counts.shape[1] > 1 else {}
    return {
        "miou": miou,
        "iou": miou,
        "dice": mean_of_defined(dice),
        "pixel_accuracy": ratio(sums[:, 0, 0].sum(axis=1), sums[:, 0, 1].sum(axis=1)),
        "miou_per_image": ratio(draws[:, counted] @ per_image[counted], draws[:, counted].sum(axis=1)),
        **near,
    }


def _columns(sums: Array) -> dict[str, NDArray[Any]]:
    """Each score of the classes [K] from `sums` [1 or 2,3,K]."""
    iou, dice = _ratios(sums[0])
    near = {"boundary_iou": _ratios(sums[1])[0]} if len(sums) > 1 else {}
    return {"iou": iou, "dice": dice, **near, "pixels": sums[0, 1].astype(np.int64)}


def _ratios(counts: Array) -> tuple[Array, Array]:
    """IoU and dice [...,K] from counts [...,3,K]; nan for a class that occurs nowhere."""
    right, either = counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :]
    return ratio(right, either - right), ratio(2 * right, either)
