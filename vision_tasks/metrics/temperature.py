"""The temperature that makes probabilities honest: the one under which the truth is likeliest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax

Array = NDArray[np.float64]

_STEPS = 60  # doublings of the inverse temperature, at most


def fit_temperature(logits: Array, label: NDArray[np.int64]) -> float | None:
    """The T > 0 that minimises the negative log-likelihood of softmax(logits / T), for logits [N,K] and classes [N].

    In 1/T it is convex, so its only minimum is where its slope is 0. None where there is no minimum: every image is
    right, and the likelihood grows without end as T falls; or the logits say less of the truth than chance.
    Guo et al. 2017, section 4.2.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)  # a shift says nothing, but costs digits
    own = centred[np.arange(len(label)), label]

    def slope(inverse: float) -> float:
        expected = (softmax(inverse * centred, axis=1) * centred).sum(axis=1)
        return float((expected - own).mean())

    if slope(0.0) >= 0 or (centred.max(axis=1) <= own).all():
        return None
    high = 1.0
    for _ in range(_STEPS):
        if slope(high) > 0:
            break
        high *= 2
    return 1 / float(brentq(slope, 0.0, high, xtol=1e-14, rtol=1e-12))
