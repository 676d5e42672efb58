"""Reading tensors at warped places: class indices by nearest pixel, class probabilities bilinearly; on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sample_nearest(index: Tensor, matrix: Tensor, size: tuple[int, int], fill: int) -> Tensor:
    """`index` [B,h,w] -> [B,H,W]: the pixel under each canvas pixel's centre, `fill` outside. `matrix` [B,3,3]."""
    inverse = torch.linalg.inv(matrix.double()).to(index.device)
    height, width = index.shape[1:]
    if _is_one_resize(inverse):
        x, y = source_axes(inverse[0], size)
        column, row = x.floor().long(), y.floor().long()
        value = index[:, row.clamp(0, height - 1)][:, :, column.clamp(0, width - 1)]
        value[:, (row < 0) | (row >= height)] = fill
        value[:, :, (column < 0) | (column >= width)] = fill
        return value
    x, y = source_points(inverse, size)
    column, row = x.floor().long(), y.floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    flat = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    value = index.flatten(1).gather(1, flat).view(len(index), *size)
    return value.masked_fill(~inside, fill)


def sample_bilinear(values: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` [B,K,h,w] -> [B,K,H,W], bilinear without antialiasing, edges continued. `matrix` [B,3,3]."""
    inverse = torch.linalg.inv(matrix.double()).to(values.device)
    height, width = values.shape[2:]
    if _is_one_resize(inverse):
        x, y = source_axes(inverse[0], size)
        return _between(_between(values, x, 3), y, 2)
    x, y = source_points(inverse, size)
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1).to(values.dtype)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def source_points(inverse: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the centres of canvas pixels lie in the source: x, y float64 [B,H,W], by `inverse` [B,3,3]."""
    height, width = size
    column = torch.arange(width, dtype=torch.float64, device=inverse.device) + 0.5
    row = torch.arange(height, dtype=torch.float64, device=inverse.device)[:, None] + 0.5
    a, b, tx, c, d, ty = (inverse[:, i, j, None, None] for i in (0, 1) for j in (0, 1, 2))
    return a * column + b * row + tx, c * column + d * row + ty


def source_axes(inverse: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What `source_points` says along each axis, x float64 [W] and y [H], where rows stay rows; `inverse` [3,3]."""
    column = torch.arange(size[1], dtype=torch.float64, device=inverse.device) + 0.5
    row = torch.arange(size[0], dtype=torch.float64, device=inverse.device) + 0.5
    return inverse[0, 0] * column + inverse[0, 2], inverse[1, 1] * row + inverse[1, 2]


def _is_one_resize(inverse: Tensor) -> bool:
    """Rows stay rows, as on the way from a canvas to its original: each axis is then sampled alone, 6 times faster."""
    return len(inverse) == 1 and not bool(inverse[0, 0, 1]) and not bool(inverse[0, 1, 0])


def _between(values: Tensor, place: Tensor, axis: int) -> Tensor:
    """`values` linearly between their neighbours at `place`, in pixels along `axis`; edges continued."""
    last = values.shape[axis] - 1
    place = (place - 0.5).clamp(0, last)
    low = place.floor().long()
    share = (place - low).to(values.dtype).view([-1 if dim == axis else 1 for dim in range(values.ndim)])
    one, two = values.index_select(axis, low), values.index_select(axis, (low + 1).clamp(max=last))
    return torch.lerp(one, two, share)
