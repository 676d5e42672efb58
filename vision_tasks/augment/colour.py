"""Photometric steps as matrices: brightness, contrast, saturation, hue and grey are affine in RGB: together one matrix.

A colour matrix is [3,4] and maps (R, G, B, 1) with values in [0,1] to (R, G, B). Every function is vectorised: a factor
for each image [B] gives a matrix for each image [B,4,4], to be composed by `@` like geometry. Values are clipped to
[0,1] once, after all steps. Every step keeps greys grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Factors = NDArray[np.float64]  # [B]
Colours = NDArray[np.float64]  # [B,4,4], last row (0, 0, 0, 1)

# Luma of ITU-R BT.601, what Pillow and torchvision call grey.
LUMA = np.array([0.299, 0.587, 0.114])
# RGB -> YIQ (NTSC 1953): hue is the angle in the IQ plane. I and Q have no grey part.
_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def brightness(factor: Factors) -> Colours:
    """Multiply every channel."""
    return _affine(factor[:, None, None] * np.eye(3))


def contrast(factor: Factors, middle: float = 0.5) -> Colours:
    """Spread values about a middle grey (not about the image's own mean, which is not known before it is read)."""
    offset = (1 - factor)[:, None] * np.full(3, middle)
    return _affine(factor[:, None, None] * np.eye(3), offset)


def saturation(factor: Factors) -> Colours:
    """Move every pixel away from (factor > 1) or towards (factor < 1) its own grey."""
    grey = np.tile(LUMA, (3, 1))
    return _affine(factor[:, None, None] * np.eye(3) + (1 - factor)[:, None, None] * grey)


def hue(turns: Factors) -> Colours:
    """Rotate colours about the grey axis by a share of the circle; grey and luma stay what they are."""
    angle = -2 * np.pi * turns  # in the IQ plane, red, green and blue follow one another clockwise
    rotation = np.zeros((len(turns), 3, 3))
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = np.cos(angle)
    rotation[:, 1, 2], rotation[:, 2, 1] = -np.sin(angle), np.sin(angle)
    return _affine(np.linalg.inv(_YIQ) @ rotation @ _YIQ)


def grey(chosen: NDArray[np.bool_]) -> Colours:
    """Replace every pixel by its luma in the chosen [B] images."""
    return saturation(np.where(chosen, 0.0, 1.0))


def _affine(linear: NDArray[np.float64], offset: NDArray[np.float64] | None = None) -> Colours:
    matrices = np.zeros((len(linear), 4, 4))
    matrices[:, :3, :3] = linear
    matrices[:, 3, 3] = 1
    if offset is not None:
        matrices[:, :3, 3] = offset
    return matrices
