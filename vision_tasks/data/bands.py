"""Values of bands as bytes: the range that is asked for, or the positive one of the number type, becomes 0 to 255."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.unreadable import DecodeError

Limits = tuple[float, float]


def to_bytes(values: NDArray[Any], limits: Limits | None = None) -> NDArray[np.uint8]:
    """`values` of any shape, `limits` (black, white) as 0 and 255; rounded, clipped, not-a-number is 0.

    Without limits 0 is black and the type's largest value white. Raises DecodeError for complex numbers, and for
    floating-point ones without limits: their type has no range of use.
    """
    low, high = _type_range(values.dtype) if limits is None else limits
    if np.iscomplexobj(values):
        raise DecodeError("holds complex numbers, which are no image")
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        return np.asarray(_table(int(np.iinfo(values.dtype).max), low, high)[values])
    return _scaled(values, low, high)


@lru_cache(16)
def _table(largest: int, low: float, high: float) -> NDArray[np.uint8]:
    """Every value from 0 scaled once, for all images of a data set."""
    return _scaled(np.arange(largest + 1), low, high)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    shares = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.asarray(np.rint(np.nan_to_num(shares, nan=0).clip(0, 255)), np.uint8)


def _type_range(kind: np.dtype[Any]) -> Limits:
    if kind.kind not in "iu":
        raise DecodeError("holds floating-point numbers; say which become black and white by --band-range LOW,HIGH")
    return 0.0, float(np.iinfo(kind).max)  # negative values mark what is missing, or are noise around 0
