"""How often predictions of each confidence are right: what a reliability diagram shows.

Niculescu-Mizil and Caruana, Predicting good probabilities with supervised learning, ICML 2005. Bins are those of the
expected calibration error, so that it is the mean of their gaps, weighted by images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vision_tasks.metrics.classification import BINS, ClassificationMetric
from vision_tasks.metrics.ratios import Array, ratio


class ReliabilityMetric(ClassificationMetric):
    """Scores of whole images of one class each, and `reliability`: a list for each of the columns of `table`."""

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """What `ClassificationMetric` gives, and `reliability`."""
        images = self.evidence()
        columns = table(images.confidence, (images.rank == 0).astype(np.float64))
        return super().compute(intervals) | {"reliability": {name: each.tolist() for name, each in columns.items()}}


def table(confidence: Array, right: Array) -> dict[str, Array]:
    """`images`, mean `confidence` and `accuracy` [15] of the bins (k/15, (k+1)/15]; nan for a bin without images.

    Of n images, `confidence` [n] is the highest probability and `right` [n] 1 where its class is the image's.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    images = np.bincount(bins, minlength=BINS).astype(np.float64)
    sums = {"confidence": confidence, "accuracy": right}
    means = {name: ratio(np.bincount(bins, each, BINS), images) for name, each in sums.items()}
    return {"images": images.astype(np.int64), **means}
