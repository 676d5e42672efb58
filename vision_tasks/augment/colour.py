"""Photometric steps as matrices: brightness, contrast, saturation, hue and grey are affine in RGB: together one matrix.

A colour matrix is [3,5] and maps (R, G, B, M, 1) with values in [0,1] to (R, G, B). M is the mean grey of the image,
which contrast turns about and which nobody knows before the image is read: as a coordinate of its own it follows the
other steps like a pixel. Every function is vectorised: a factor for each image [B] gives a matrix for each image
[B,5,5], to be composed by `@` like geometry. Values are clipped to [0,1] once, after all steps. Every step keeps greys
grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision_tasks.warp import LUMA

Factors = NDArray[np.float64]  # [B]
Colours = NDArray[np.float64]  # [B,5,5], last row (0, 0, 0, 0, 1)

# RGB -> YIQ (NTSC 1953): hue is the angle in the IQ plane. I and Q have no grey part.
_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def brightness(factor: Factors) -> Colours:
    """Multiply every channel, and with them the mean."""
    return _affine(factor[:, None, None] * np.eye(3), mean=np.stack([np.zeros_like(factor), factor], axis=1))


def contrast(factor: Factors) -> Colours:
    """Spread values about the image's mean grey, as torchvision's `adjust_contrast` does."""
    return _affine(factor[:, None, None] * np.eye(3), mean=np.stack([1 - factor, np.ones_like(factor)], axis=1))


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


def _affine(linear: NDArray[np.float64], mean: NDArray[np.float64] | None = None) -> Colours:
    """From [B,3,3] on RGB; `mean` [B,2]: what every channel takes of the mean, and what the mean is multiplied by."""
    matrices = np.tile(np.eye(5), (len(linear), 1, 1))
    matrices[:, :3, :3] = linear
    if mean is not None:
        matrices[:, :3, 3], matrices[:, 3, 3] = mean[:, :1], mean[:, 1]
    return matrices
