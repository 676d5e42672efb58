"""Which pixels of a mask lie near a boundary, for all classes at once.

Cheng, Girshick, Dollar, Berg, Kirillov: Boundary IoU, CVPR 2021: of a class' mask, the pixels that an erosion by d
pixels takes away, d being 2 % of the image's diagonal. They are those in whose window of (2d+1) x (2d+1) pixels there
is another class, or the image's border: as in the authors' code, what is outside belongs to no class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vision_tasks.types import IGNORE

DILATION = 0.02  # of the image's diagonal


def near_boundary(index: Tensor, dilation: float = DILATION) -> Tensor:
    """The mask `index` uint8 [H,W] with IGNORE where all pixels up to d pixels away are of the same class."""
    height, width = index.shape
    reach = max(1, round(dilation * (height**2 + width**2) ** 0.5))
    # A window reaches beyond its class if and only if four pixels of it that meet in a corner are not all alike.
    band = _any_in_window(_any_in_window(_uneven_corners(index, reach), 2 * reach, 0), 2 * reach, 1)
    return ignored_where(index, ~band)


def ignored_where(index: Tensor, where: Tensor) -> Tensor:
    """The mask `index` uint8 [H,W] with IGNORE where `where` bool [H,W] is set."""
    # IGNORE has all bits set; on a CPU `masked_fill` takes five times as long.
    return index | where.byte() * IGNORE


def _uneven_corners(index: Tensor, reach: int) -> Tensor:
    """bool [H+2d-1,W+2d-1]: the corners of pixels, [H+1,W+1], within a frame of d-1 that says nothing.

    Set where the pixels that meet there differ; at the image's border they meet what is outside.
    """
    height, width = index.shape
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    corners = torch.zeros(height + 2 * reach - 1, width + 2 * reach - 1, dtype=torch.bool, device=index.device)
    image = corners[reach - 1 : reach + height, reach - 1 : reach + width]
    image.fill_(True)
    torch.bitwise_or(across[:-1], down[:, :-1], out=image[1:-1, 1:-1])
    image[1:-1, 1:-1] |= down[:, 1:]
    return corners


def _any_in_window(values: Tensor, window: int, dim: int) -> Tensor:
    """Whether any of `window` neighbours along `dim` is set: [..., n - window + 1, ...]."""
    span = 1
    while span < window:
        step = min(span, window - span)
        length = values.shape[dim] - step
        values = values.narrow(dim, 0, length) | values.narrow(dim, step, length)
        span += step
    return values
