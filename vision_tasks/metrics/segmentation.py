"""Scores of semantic segmentation, all from confusion matrices of pixels.

With TP, FP and FN in pixels of a class: IoU = TP / (TP + FP + FN), dice = 2 TP / (2 TP + FP + FN).

- `miou` (= `iou`): IoU of each class over all pixels of the data set, then the mean over classes: what papers and
  benchmarks report. `dice`: the same with dice.
- `miou_per_image`: the mean over the classes of one image, then over images: every image weighs the same, whatever its
  size. It is another number than `miou`, often by far.
- `pixel_accuracy`: share of pixels that are right.
- A class that occurs neither in truth nor in predictions (of the data set, or for `miou_per_image` of the image) is
  undefined (nan) and left out of the mean; a class that is only predicted counts 0.
- Pixels whose truth is 255 count nowhere. A *predicted* 255 where truth has a class is a miss of that class and no
  false alarm of another: else a model could leave out the pixels it finds hard.
- An image without any counted pixel is left out of `miou_per_image`.
- Each score has its 95 % interval over images, `<score>_ci` (`metrics/bootstrap.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.base import per_class
from vision_tasks.metrics.bootstrap import Scores, estimate
from vision_tasks.metrics.ratios import Array, mean_of_defined, ratio
from vision_tasks.types import IGNORE, Masks

Counts = NDArray[np.int64]


class SegmentationMetric:
    """Overlap of masks; keeps three numbers an image and class: 24 bytes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._counts: list[Counts] = []  # each [3,K]: pixels that are right, of truth, of the prediction

    def update(self, prediction: Masks, truth: Masks, image: str) -> None:
        """Count one image: index [1,H,W] against index [1,H,W]; ValueError for unequal sizes or unknown truth."""
        confusion = _confusion(prediction.index[0].numpy(), truth.index[0].numpy(), len(self._classes))
        columns = confusion[:, :-1].sum(axis=0)
        self._counts.append(np.stack([np.diagonal(confusion), confusion.sum(axis=1), columns]))

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """The scores named above, their `_ci`, `images`, and per class `iou`, `dice` and `pixels` (of truth)."""
        counts = np.array(self._counts, dtype=np.float64).reshape(-1, 3, len(self._classes))
        iou, dice = _overlaps(counts.sum(axis=0))
        pixels = counts[:, 1].sum(axis=0).astype(np.int64)
        return {
            **estimate(len(counts), partial(_scores, counts), intervals),
            "images": len(counts),
            "per_class": per_class(self._classes, {"iou": iou, "dice": dice, "pixels": pixels}),
        }


def _scores(counts: Array, draws: Array) -> Scores:
    """The headline scores [R] when each image, `counts` [n,3,K], counts as often as `draws` [R,n] says."""
    sums = np.tensordot(draws, counts, 1)  # [R,3,K]
    iou, dice = _overlaps(sums)
    per_image = mean_of_defined(_overlaps(counts)[0])
    counted = ~np.isnan(per_image)
    miou = mean_of_defined(iou)
    return {
        "miou": miou,
        "iou": miou,
        "dice": mean_of_defined(dice),
        "pixel_accuracy": ratio(sums[:, 0].sum(axis=1), sums[:, 1].sum(axis=1)),
        "miou_per_image": ratio(draws[:, counted] @ per_image[counted], draws[:, counted].sum(axis=1)),
    }


def _confusion(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> Counts:
    """Pixels [K,K+1] by truth and prediction; the last column is predictions of no class."""
    if predicted.shape != truth.shape:
        raise ValueError(f"a mask of {predicted.shape} is compared with truth of {truth.shape}")
    columns = classes + 1
    # 16 bits hold every pair (256 * 255 < 2^16), and ignored pixels fall into rows that are cut off: no masking.
    pair = truth.astype(np.uint16) * np.uint16(columns) + np.minimum(predicted, np.uint8(classes))
    counts = np.bincount(pair.ravel(), minlength=256 * columns).reshape(256, columns)
    if counts[classes:IGNORE].any():
        raise ValueError(f"truth has a class beyond the {classes} known")
    return counts[:classes]


def _overlaps(counts: Array) -> tuple[Array, Array]:
    """IoU and dice [...,K] from counts [...,3,K]; nan for a class that occurs nowhere."""
    right, either = counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :]
    return ratio(right, either - right), ratio(2 * right, either)
