"""Logistic regression on features, as the weight and bias of a linear layer.

Features [N,D] are standardised before the fit; the scaling is folded into weight [K,D] and bias [K], all float64. So
softmax (or sigmoid) of the layer is what scikit-learn's fitted model says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.floating[Any]]
ABSENT = -100.0  # logit of a class that the data never shows; its probability is below float32's resolution
ITERATIONS = 1000


def fit_exclusive(features: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """One softmax over the classes; truth [N,K], of which the heaviest class counts."""
    weight, bias = _blank(features, truth)
    label = truth.argmax(axis=1)
    present = np.unique(label)
    if len(present) == 1:
        bias[present] = 0
        return weight, bias
    slope, offset = _fit(features, label)
    if len(present) == 2:  # scikit-learn gives the one difference of the two logits
        slope, offset = np.concatenate([-slope, slope]) / 2, np.concatenate([-offset, offset]) / 2
    weight[present], bias[present] = slope, offset
    return weight, bias


def fit_independent(features: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """A regression of its own for each class; truth [N,K]."""
    weight, bias = _blank(features, truth)
    for k, shown in enumerate((truth > 0.5).T):
        if shown.all():
            bias[k] = -ABSENT
        elif shown.any():
            slope, offset = _fit(features, shown)
            weight[k], bias[k] = slope[0], offset[0]
    return weight, bias


def _blank(features: Floats, truth: Floats) -> tuple[Floats, Floats]:
    classes = truth.shape[1]
    return np.zeros((classes, features.shape[1])), np.full(classes, ABSENT)


def _fit(features: Floats, label: NDArray[Any]) -> tuple[Floats, Floats]:
    """Slopes and offsets on unscaled features, a row a class, or one row for two classes."""
    scaler, regression = StandardScaler(), LogisticRegression(max_iter=ITERATIONS)
    make_pipeline(scaler, regression).fit(features, label)
    slope = regression.coef_ / scaler.scale_
    return slope, regression.intercept_ - slope @ scaler.mean_
