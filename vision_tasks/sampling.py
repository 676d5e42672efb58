"""Reading tensors at warped places: class indices by nearest pixel, class probabilities bilinearly; on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sample_nearest(index: Tensor, matrix: Tensor, size: tuple[int, int], fill: int) -> Tensor:
    """`index` [B,h,w] -> [B,H,W]: the pixel under each canvas pixel's centre, `fill` outside. `matrix` [B,3,3]."""
    x, y = source_points(torch.linalg.inv(matrix.double()).to(index.device), size)
    height, width = index.shape[1:]
    column, row = x.floor().long(), y.floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    flat = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    value = index.flatten(1).gather(1, flat).view(len(index), *size)
    return value.masked_fill(~inside, fill)


def sample_bilinear(values: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` [B,K,h,w] -> [B,K,H,W], bilinear without antialiasing, edges continued. `matrix` [B,3,3]."""
    x, y = source_points(torch.linalg.inv(matrix.double()).to(values.device), size)
    height, width = values.shape[2:]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1).to(values.dtype)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def source_points(inverse: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the centres of canvas pixels lie in the source: x, y float64 [B,H,W], by `inverse` [B,3,3]."""
    height, width = size
    column = torch.arange(width, dtype=torch.float64, device=inverse.device) + 0.5
    row = torch.arange(height, dtype=torch.float64, device=inverse.device)[:, None] + 0.5
    a, b, tx, c, d, ty = (inverse[:, i, j, None, None] for i in (0, 1) for j in (0, 1, 2))
    return a * column + b * row + tx, c * column + d * row + ty
