"""Pixels counted by their classes in two masks: where the masks are, so that nothing but counts leaves a device."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

VALUES = 256  # of a byte

_AT_ONCE = 1 << 24  # pixels: OpenCV counts in float32, which is exact up to here


def pair_counts(truth: Tensor, predicted: Tensor) -> Tensor:
    """How many pixels have each pair of values, int64 [256,256] by truth and prediction, of two masks uint8 [H,W]."""
    return _counted_on_cpu(truth, predicted) if truth.device.type == "cpu" else _counted(truth, predicted)


def _counted(truth: Tensor, predicted: Tensor) -> Tensor:
    pair = truth.int() * VALUES + predicted
    return pair.flatten().bincount(minlength=VALUES * VALUES).view(VALUES, VALUES)


def _counted_on_cpu(truth: Tensor, predicted: Tensor) -> Tensor:
    """The same by OpenCV's histogram of two channels, which takes a quarter of the time."""
    pair = [mask.numpy().reshape(-1) for mask in (truth, predicted)]
    counts = np.zeros((VALUES, VALUES), np.int64)
    for start in range(0, truth.numel(), _AT_ONCE):
        part = [mask[None, start : start + _AT_ONCE] for mask in pair]
        counts += cv2.calcHist(part, [0, 1], None, [VALUES, VALUES], [0, VALUES, 0, VALUES]).astype(np.int64)
    return torch.from_numpy(counts)
