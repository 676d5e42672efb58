"""Matrices: the one language for resize, letterbox, crop, flip, rotation, shear and zoom, and for undoing them.

A matrix is float64 [3,3], maps (x, y, 1) in pixel-edge coordinates of the older space to the newer one, and is composed
by `@` from right (first) to left (last). Functions ending in a plural work on [B,3,3] at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision_tasks.errors import unknown_name
from vision_tasks.types import Matrix, Region, Size


def affine(a: float, b: float, tx: float, c: float, d: float, ty: float) -> Matrix:
    """x' = a x + b y + tx, y' = c x + d y + ty."""
    return np.array([[a, b, tx], [c, d, ty], [0.0, 0.0, 1.0]])


def translate(x: float, y: float) -> Matrix:
    return affine(1, 0, x, 0, 1, y)


def scale(x: float, y: float) -> Matrix:
    return affine(x, 0, 0, 0, y, 0)


def centred(matrix: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """`matrix` [...,3,3] about the centre of a canvas of `size` instead of about its corner."""
    height, width = size
    return np.asarray(translate(width / 2, height / 2) @ matrix @ translate(-width / 2, -height / 2))


def affines(
    angle: ArrayLike, zoom: ArrayLike, shear_x: ArrayLike, shear_y: ArrayLike, flip_x: ArrayLike, flip_y: ArrayLike
) -> NDArray[np.float64]:
    """Rotation by `angle` (radians, clockwise on screen) of a shear (tangents) of a zoom of flips, each [B]."""
    # Rounded, so that right angles are exact: rows stay rows, and pixels pixels.
    cos, sin, one = np.cos(angle).round(15), np.sin(angle).round(15), np.ones_like(np.asarray(angle, dtype=float))
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    shear = np.stack([np.stack([one, one * shear_x], -1), np.stack([one * shear_y, one], -1)], -2)
    gain = np.stack([zoom * np.where(flip_x, -1.0, 1.0), zoom * np.where(flip_y, -1.0, 1.0)], -1)
    matrices = np.zeros((*one.shape, 3, 3))
    matrices[..., :2, :2] = rotation @ shear * gain[..., None, :]
    matrices[..., 2, 2] = 1
    return matrices


def crop(box: tuple[float, float, float, float], canvas: Size) -> Matrix:
    """Stretch the region `box` (x0, y0, x1, y1) of the image over the whole canvas."""
    x0, y0, x1, y1 = box
    return scale(canvas[1] / (x1 - x0), canvas[0] / (y1 - y0)) @ translate(-x0, -y0)


def stretch(size: Size, canvas: Size) -> Matrix:
    """The whole image over the whole canvas; the aspect ratio is lost."""
    return scale(canvas[1] / size[1], canvas[0] / size[0])


def letterbox(size: Size, canvas: Size) -> Matrix:
    """The whole image, as large as fits, centred; the rest of the canvas is border."""
    return _centred_fit(size, canvas, min(canvas[0] / size[0], canvas[1] / size[1]))


def cover(size: Size, canvas: Size) -> Matrix:
    """As small as covers the canvas, centred; what sticks out is cropped away."""
    return _centred_fit(size, canvas, max(canvas[0] / size[0], canvas[1] / size[1]))


FITS: dict[str, Callable[[Size, Size], Matrix]] = {"crop": cover, "letterbox": letterbox, "stretch": stretch}


def fit_rule(name: str) -> Callable[[Size, Size], Matrix]:
    """How whole images of any size meet the canvas: `crop`, `letterbox` or `stretch`."""
    if name not in FITS:
        raise unknown_name("fit", name, FITS)
    return FITS[name]


def is_axis_aligned(matrix: Matrix) -> bool:
    """Whether rows stay rows: resizes, crops, letterboxes and flips, in any combination."""
    return bool(matrix[0, 1] == 0 and matrix[1, 0] == 0)


def bounds(size: Size, matrix: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest (x, y) of an image of `size` warped by `matrix`."""
    corners = matrix[:2, :2] @ np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]]]) + matrix[:2, 2:]
    return corners.min(axis=1), corners.max(axis=1)


def footprint(size: Size, matrix: Matrix, within: Region) -> Region:
    """The pixels of `within` whose centres lie in the bounding box of a warped image of `size`."""
    (x0, y0), (x1, y1) = bounds(size, matrix)
    left, top = max(within[0], ceil(x0 - 0.5)), max(within[1], ceil(y0 - 0.5))
    right, bottom = min(within[2], ceil(x1 - 0.5)), min(within[3], ceil(y1 - 0.5))
    return left, top, max(left, right), max(top, bottom)


def _centred_fit(size: Size, canvas: Size, factor: float) -> Matrix:
    offset_x, offset_y = (canvas[1] - factor * size[1]) / 2, (canvas[0] - factor * size[0]) / 2
    return affine(factor, 0, offset_x, 0, factor, offset_y)
