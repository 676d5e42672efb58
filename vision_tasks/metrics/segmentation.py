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
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.types import IGNORE, Masks

Counts = NDArray[np.int64]
Array = NDArray[np.float64]


class SegmentationMetric:
    """Overlap of masks; keeps one confusion matrix and a number an image."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._confusion = np.zeros((len(self._classes), len(self._classes) + 1), dtype=np.int64)
        self._per_image: list[float] = []

    def update(self, prediction: Masks, truth: Masks) -> None:
        """Count one image: index [1,H,W] against index [1,H,W]; ValueError for unequal sizes or unknown truth."""
        confusion = _confusion(prediction.index[0].numpy(), truth.index[0].numpy(), len(self._classes))
        self._confusion += confusion
        self._per_image.append(_mean(_overlaps(confusion)[0]))

    def compute(self) -> dict[str, Any]:
        """The scores named above, `images`, and per class `iou`, `dice` and `pixels` (of truth)."""
        iou, dice = _overlaps(self._confusion)
        pixels = self._confusion.sum(axis=1)
        right = np.trace(self._confusion)
        return {
            "miou": _mean(iou),
            "iou": _mean(iou),
            "dice": _mean(dice),
            "pixel_accuracy": float(right / pixels.sum()) if pixels.any() else float("nan"),
            "miou_per_image": _mean(np.array(self._per_image)),
            "images": len(self._per_image),
            "per_class": {
                name: {"iou": float(iou[i]), "dice": float(dice[i]), "pixels": int(pixels[i])}
                for i, name in enumerate(self._classes)
            },
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


def _overlaps(confusion: Counts) -> tuple[Array, Array]:
    """IoU [K] and dice [K]; nan for a class that occurs nowhere."""
    both = np.diagonal(confusion)
    either = confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: undefined, and meant
        return both / (either - both), 2 * both / either


def _mean(values: Array) -> float:
    """Over what is defined; nan if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
