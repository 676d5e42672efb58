"""Ratios of counts that may be undefined, and means over what is defined; no warnings, undefined is nan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ratio(part: NDArray[Any], whole: NDArray[Any] | float) -> Array:
    """`part / whole`; nan where both are 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(part / whole, dtype=np.float64)


def mean_of_defined(values: Array) -> Array:
    """Mean over the last dimension of what is not nan; nan where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
