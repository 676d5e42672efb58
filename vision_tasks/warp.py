"""The sampling itself: every image is resampled exactly once, from decoded pixels to its place on the canvas.

The filter is the triangle, widened by the factor of shrinking (Pillow's antialiased bilinear): half-width
`max(1, f)` source pixels along each source axis, where f is how many source pixels one canvas pixel steps over. A
canvas pixel belongs to the image if its centre maps inside it; there the edge pixels are continued, elsewhere is
border, or mirror images of the picture where they are asked for.

- `warp_into` is the CPU path (OpenCV): a prefilter of matched variance, then bilinear sampling. Images may have any
  number of channels C, which are all sampled alike.
- `warp_reference` is the definition, in float64 and plain torch; slow, for tests and for the CUDA twin.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil, log, sqrt
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.geometry import bounds, footprint, is_axis_aligned, scale, translate
from vision_tasks.sampling import source_points
from vision_tasks.types import Matrix, Region, Size

LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601: what Pillow and torchvision call grey
BORDER = 114  # grey level around images, as in the YOLO family's letterbox
_TOGETHER = (1, 3, 4)  # channels that OpenCV samples exactly: others on a grid of 1/32 px, and more than 128 not at all
_WIDEST_KERNEL = 4.0  # beyond this much shrinking, whole blocks are averaged first
_OFFSET_IN_BYTES = np.array([1, 1, 1, 255], np.float32)  # what makes colours of RGB in [0, 1] colours of bytes
_LEAST_VARIANCE = 0.01  # px^2, below which a low-pass would not be seen
_THREE_TAPS = 0.5  # px^2, up to which three taps are enough

Pixels = NDArray[np.uint8]  # [H,W,C]; the first three channels are RGB, fewer are greys


def warp_into(
    canvas: Pixels,
    source: Pixels,
    matrix: Matrix,
    region: Region | None = None,
    colour: NDArray[np.float32] | None = None,
    reduction: int = 1,
    mirror: Region | None = None,
) -> None:
    """Sample `source` [h,w,C] into the `region` of `canvas` [H,W,C]; `matrix` maps source px -> canvas px.

    `colour` [3,4] is applied to RGB in [0,1], the first three channels; further ones keep their values. Where there are
    fewer, each is a grey: brightness and contrast change it as they change a grey pixel, hue and saturation do not.
    `reduction` says how far a decoder has shrunk the source already, so that its own low-pass counts towards the
    antialiasing. `mirror` is a rectangle of the canvas that is filled wholly, by mirror images of the source where
    there is none of it. The canvas outside the region and all this keeps its pixels.
    """
    region = region or (0, 0, canvas.shape[1], canvas.shape[0])
    fill = None if mirror else _whole_pixels(source.shape[:2], matrix, region)
    if fill and max(fill.steps) < 2 * _WIDEST_KERNEL:
        x0, y0, x1, y1 = fill.target
        patch = _fill(source, fill, reduction)
        canvas[y0:y1, x0:x1] = patch if colour is None else _recolour(patch, colour)
        return
    x0, y0, x1, y1 = region if mirror else footprint(source.shape[:2], matrix, region)
    if x0 >= x1 or y0 >= y1:
        return
    target = canvas[y0:y1, x0:x1]
    to_target = translate(-x0, -y0) @ matrix
    if mirror:
        patch = _sample(*_between_mirrors(source, to_target, target.shape[:2]), target.shape[:2], reduction)
    else:
        patch = _sample(source, to_target, target.shape[:2], reduction)
    if colour is not None:
        patch = _recolour(patch, colour)
    if is_axis_aligned(matrix) and not mirror:
        target[...] = patch
        return
    painted = _inside(source.shape[:2], to_target, target.shape[:2])
    if mirror:
        left, top, right, bottom = mirror
        painted[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)] = True
    np.copyto(target, patch, where=painted[..., None])


def warp_reference(
    source: Tensor, matrix: Tensor, size: Size, fill: float = BORDER / 255, mirror: Region | None = None
) -> Tensor:
    """The definition of the warp in float64: `source` [C,h,w] -> [C,H,W] by `matrix` [3,3] (source px -> canvas px).

    `fill` is what lies around the source, `mirror` as `warp_into` says.
    """
    inverse = torch.linalg.inv(matrix.double().to(source.device))
    x, y = source_points(inverse[None], size)
    support = inverse[:2, :2].norm(dim=1).clamp(min=1)
    columns, across = _triangle_taps(x[0], float(support[0]), source.shape[2], mirror is not None)
    rows, down = _triangle_taps(y[0], float(support[1]), source.shape[1], mirror is not None)
    taps = source.double()[:, rows[..., :, None], columns[..., None, :]]  # [C,H,W,taps,taps]
    value = torch.einsum("chwij,hwi,hwj->chw", taps, down, across)
    painted = (x[0] >= 0) & (x[0] < source.shape[2]) & (y[0] >= 0) & (y[0] < source.shape[1])
    if mirror:
        left, top, right, bottom = mirror
        painted[top:bottom, left:right] = True
    return torch.where(painted, value, fill)


def _triangle_taps(centre: Tensor, support: float, length: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Pixels under a triangle of half-width `support` around `centre` [H,W], and weights that sum to 1; [H,W,taps]."""
    reach = int(support) + 1
    offsets = torch.arange(-reach, reach + 1, device=centre.device)
    # Beyond the edge the image continues as its edge pixel: centres there move onto it.
    position = centre if mirrored else centre.clamp(0.5, length - 0.5)
    pixels = position.floor().long()[..., None] + offsets
    weight = (1 - (pixels + 0.5 - position[..., None]).abs() / support).clamp(min=0)
    if mirrored:
        folded = pixels.remainder(2 * length)
        pixels = torch.minimum(folded, 2 * length - 1 - folded)
    weight = weight * ((pixels >= 0) & (pixels < length))
    return pixels.clamp(0, length - 1), weight / weight.sum(dim=-1, keepdim=True)


def _between_mirrors(source: Pixels, matrix: Matrix, size: Size) -> tuple[Pixels, Matrix]:
    """`source` and the mirror images around it that a canvas of `size` shows, as one image, and its matrix."""
    inverse = np.linalg.inv(matrix)
    margin = int(np.abs(inverse[:2, :2]).sum(axis=1).max()) + 3  # what the filter sees beyond the last centre
    least, greatest = bounds(size, inverse)
    left, top = (max(0, margin - int(np.floor(value))) for value in least)
    right, bottom = (max(0, int(np.ceil(greatest[i])) + margin - source.shape[1 - i]) for i in (0, 1))
    beyond = np.pad(source, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
    return beyond, np.asarray(matrix @ translate(-left, -top))


def _sample(source: Pixels, matrix: Matrix, size: Size, reduction: int) -> Pixels:
    """The whole canvas of `size` filled from `source`, edges continued."""
    inverse = np.linalg.inv(matrix)
    steps = np.hypot(inverse[:2, 0], inverse[:2, 1])  # source px per canvas px, along source x and y
    source, origin = _needed(source, inverse, size, margin=int(max(steps)) + 3)
    matrix = matrix @ translate(*origin)
    channels = source.shape[2]
    if channels in _TOGETHER:
        return _sample_group(source, matrix, size, steps, reduction)
    filled = np.empty((*size, channels), np.uint8)
    for group in _groups(channels):
        part = np.ascontiguousarray(source[..., group])
        filled[..., group] = _sample_group(part, matrix, size, steps, reduction)
    return filled


def _groups(channels: int) -> Iterator[slice]:
    """Slices of `_TOGETHER` channels that make up all."""
    start = 0
    while start < channels:
        end = start + max(count for count in _TOGETHER if count <= channels - start)
        yield slice(start, end)
        start = end


def _sample_group(source: Pixels, matrix: Matrix, size: Size, steps: NDArray[np.float64], reduction: int) -> Pixels:
    """`source` [h,w,C] of `_TOGETHER` channels -> [H,W,C]; it steps over `steps` (x, y) source px per canvas px."""
    shape = (*size, source.shape[2])  # OpenCV drops the last axis of one channel
    block = (max(1, int(steps[0] / _WIDEST_KERNEL)), max(1, int(steps[1] / _WIDEST_KERNEL)))
    if max(block) > 1:
        source = _average_blocks(source, block)
        matrix = matrix @ scale(*block)
    spread = (_missing_variance(steps[0], block[0], reduction), _missing_variance(steps[1], block[1], reduction))
    if max(spread) > _LEAST_VARIANCE:
        source = _blur(source, spread)
    # OpenCV counts from pixel centres, this project from pixel edges.
    centres = translate(-0.5, -0.5) @ matrix @ translate(0.5, 0.5)
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    filled = cv2.warpAffine(source, centres[:2], (size[1], size[0]), flags=flags, borderMode=border)
    return _bytes(filled).reshape(shape)


class _Fill(NamedTuple):
    """Pixels of the canvas that whole pixels of the source fill exactly."""

    target: Region  # of the canvas
    box: Region  # of the source
    mirrored: tuple[bool, bool]  # left-right, upside-down

    @property
    def steps(self) -> tuple[float, float]:
        """Source pixels per canvas pixel, across and down."""
        (x0, y0, x1, y1), (left, top, right, bottom) = self.target, self.box
        return (right - left) / (x1 - x0), (bottom - top) / (y1 - y0)


def _whole_pixels(source: Size, matrix: Matrix, region: Region) -> _Fill | None:
    """What of the `region` the source fills, if rows stay rows and the edges on both sides are pixel edges; else None.

    In plain numbers: arrays of two cost more than decoding a small picture.
    """
    (a, b, tx), (c, d, ty), _ = matrix.tolist()
    if b or c:
        return None
    across = _whole_span(a, tx, region[0], region[2], source[1])
    down = _whole_span(d, ty, region[1], region[3], source[0])
    if across is None or down is None:
        return None
    (x0, x1, left, right), (y0, y1, top, bottom) = across, down
    return _Fill((x0, y0, x1, y1), (left, top, right, bottom), (a < 0, d < 0))


def _whole_span(gain: float, shift: float, low: int, high: int, length: int) -> tuple[int, int, int, int] | None:
    """Along one axis: start and end of the canvas pixels whose centres the source covers, and of the source pixels."""
    ends = sorted((shift, shift + gain * length))
    start, end = max(low, ceil(ends[0] - 0.5)), min(high, ceil(ends[1] - 0.5))
    near, far = sorted(((start - shift) / gain, (end - shift) / gain))
    first, last = round(near), round(far)
    exact = abs(near - first) < 1e-6 and abs(far - last) < 1e-6
    return (start, end, first, last) if exact and start < end and 0 <= first < last <= length else None


def _fill(source: Pixels, fill: _Fill, reduction: int) -> Pixels:
    """The target's pixels [H,W,C]; exact where nothing is scaled."""
    (x0, y0, x1, y1), (left, top, right, bottom) = fill.target, fill.box
    patch = source[top:bottom, left:right]
    if fill.steps != (1, 1):
        spread = _missing_variance(fill.steps[0], 1, reduction), _missing_variance(fill.steps[1], 1, reduction)
        parts = [_resize(patch[..., group], (y1 - y0, x1 - x0), spread) for group in _groups(patch.shape[2])]
        patch = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    return _mirrored(patch, fill.mirrored)


def _resize(patch: Pixels, size: Size, spread: tuple[float, float]) -> Pixels:
    """All of `patch` [h,w,C], of `_TOGETHER` channels, over all of `size`, after a low-pass of variances `spread`."""
    channels = patch.shape[2]
    if max(spread) > _LEAST_VARIANCE:
        patch = _blur(patch, spread)
    resized = cv2.resize(patch, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return _bytes(resized).reshape(*size, channels)  # OpenCV drops the last axis of one channel


def _mirrored(pixels: Pixels, mirrored: tuple[bool, bool]) -> Pixels:
    if not any(mirrored):
        return pixels
    if pixels.shape[2] not in _TOGETHER:
        return pixels[:: -1 if mirrored[1] else 1, :: -1 if mirrored[0] else 1]
    axis = -1 if all(mirrored) else int(mirrored[0])  # OpenCV's words for both, x and y
    # A view would be copied byte by byte, which takes longer than all the rest.
    return _bytes(cv2.flip(pixels, axis)).reshape(pixels.shape)


def _blur(source: Pixels, variance: tuple[float, float]) -> Pixels:
    """Low-pass along x and y by about the given variances in px^2."""
    if max(variance) <= _THREE_TAPS:
        # In fixed point, which is a fifth faster than the general filter.
        (columns, sigma_x), (rows, sigma_y) = _gaussian(variance[0]), _gaussian(variance[1])
        blurred = cv2.GaussianBlur(
            source, (columns, rows), sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REPLICATE
        )
        return _bytes(blurred)
    across, down = (_kernel(max(0, round(100 * value))) for value in variance)
    return _bytes(cv2.sepFilter2D(source, -1, across, down, borderType=cv2.BORDER_REPLICATE))


def _gaussian(variance: float) -> tuple[int, float]:
    """How many taps, 1 or 3, and of which sigma OpenCV's Gaussian has a `variance` of at most `_THREE_TAPS` px^2.

    The outer taps are exp(-1 / (2 sigma^2)) of the middle one, and together they are the variance.
    """
    if variance <= _LEAST_VARIANCE:
        return 1, 1.0
    return 3, 1 / sqrt(2 * log(2 * (1 - variance) / variance))


def _needed(source: Pixels, inverse: NDArray[Any], size: Size, margin: int) -> tuple[Pixels, tuple[int, int]]:
    """The part of `source` that a canvas of `size` draws from, and where it starts (x, y)."""
    height, width = source.shape[:2]
    least, greatest = bounds(size, inverse)
    low, high = np.floor(least) - margin, np.ceil(greatest) + margin
    x0, y0 = (int(np.clip(low[i], 0, (width, height)[i] - 1)) for i in (0, 1))
    x1, y1 = (int(np.clip(high[i], (x0, y0)[i] + 1, (width, height)[i])) for i in (0, 1))
    return source[y0:y1, x0:x1], (x0, y0)


def _average_blocks(source: Pixels, block: tuple[int, int]) -> Pixels:
    """Means of whole blocks of (x, y) pixels; the last ones are completed by continuing the edge."""
    width, height = -(-source.shape[1] // block[0]), -(-source.shape[0] // block[1])
    right, bottom = width * block[0] - source.shape[1], height * block[1] - source.shape[0]
    if right or bottom:
        source = _bytes(cv2.copyMakeBorder(source, 0, bottom, 0, right, cv2.BORDER_REPLICATE))
    return _bytes(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))


def _missing_variance(step: float, block: int, reduction: int) -> float:
    """Variance in (blocked) source px^2 that the prefilter adds, so that all filters together match the triangle's.

    A triangle of half-width f has f^2/6. Bilinear sampling gives 1/6, a mean over n pixels (n^2-1)/12; both the block
    and the decoder's reduction are such means, each measured in its own output pixels here.
    """
    f = step / block
    return (f * f - 1) / 6 - (1 - 1 / block**2) / 12 - (1 - 1 / reduction**2) / 12 / block**2


@lru_cache(maxsize=4096)
def _kernel(centivariance: int) -> NDArray[np.float32]:
    """Odd, symmetric, normalised taps with about the given variance in px^2 / 100."""
    variance = centivariance / 100
    if variance <= 0.5:
        return np.array([variance / 2, 1 - variance, variance / 2], np.float32)
    # Sampled at whole pixels, a triangle of half-width c has the variance (c^2-1)/6 at whole c, and nearly so between.
    half_width = sqrt(6 * variance + 1)
    taps = np.arange(-int(half_width), int(half_width) + 1)
    weight = np.clip(1 - np.abs(taps) / half_width, 0, None)
    return np.asarray(weight / weight.sum(), np.float32)


def settled(colour: NDArray[np.float32], pixels: Pixels) -> NDArray[np.float32]:
    """A colour matrix [3,5] on (R, G, B, mean grey, 1) made one [3,4] on (R, G, B, 1), for an image `pixels` [h,w,C].

    The mean of a large image is taken of every so many rows and columns, at least 64 of each.
    """
    step = max(1, min(pixels.shape[:2]) // 64)
    means = np.array(cv2.mean(np.ascontiguousarray(pixels[::step, ::step, :4]))[: min(pixels.shape[2], 3)]) / 255
    grey = LUMA @ means if len(means) == 3 else means.mean()
    return np.column_stack([colour[:, :3], colour[:, 3] * np.float32(grey) + colour[:, 4]])


def _recolour(pixels: Pixels, colour: NDArray[np.float32]) -> Pixels:
    """`pixels` [H,W,C] in new colours; see `warp_into` for what that means where C is not 3."""
    colour = colour * _OFFSET_IN_BYTES
    channels = pixels.shape[2]
    if channels < 3:
        # Greys stay grey under every colour step, so each row of the matrix says the same of them.
        gain, offset = colour[:, :3].sum(axis=1).mean(), colour[:, 3].mean()
        each = np.hstack([gain * np.eye(channels), np.full((channels, 1), offset)])
        return _bytes(cv2.transform(pixels, each)).reshape(pixels.shape)
    if channels == 3:
        return _bytes(cv2.transform(pixels, colour))
    rgb = _bytes(cv2.transform(np.ascontiguousarray(pixels[..., :3]), colour))
    return np.concatenate([rgb, pixels[..., 3:]], axis=2)


def _inside(source: Size, matrix: Matrix, size: Size) -> NDArray[np.bool_]:
    """Which centres of a canvas of `size` map inside a source of that size, bool [H,W]."""
    inverse = np.linalg.inv(matrix)
    column, row = np.arange(size[1]) + 0.5, (np.arange(size[0]) + 0.5)[:, None]
    x = inverse[0, 0] * column + inverse[0, 1] * row + inverse[0, 2]
    y = inverse[1, 0] * column + inverse[1, 1] * row + inverse[1, 2]
    return np.asarray((x >= 0) & (x < source[1]) & (y >= 0) & (y < source[0]))


def _bytes(pixels: Any) -> Pixels:
    """What OpenCV's stubs call any array: uint8 in, uint8 out."""
    return np.asarray(pixels, dtype=np.uint8)
