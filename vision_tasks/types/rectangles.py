"""Geometry of boxes: areas, what covers leave in sight, where a matrix takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from vision_tasks.types.targets import Size


def area_of(xyxy: Tensor) -> Tensor:
    extent = (xyxy[..., 2:] - xyxy[..., :2]).clamp(min=0)
    return extent[..., 0] * extent[..., 1]


def in_sight(xyxy: Tensor, covers: Tensor) -> tuple[Tensor, Tensor]:
    """What `covers` [B,N,M,4] leave of boxes [B,N,4]: its area [B,N], and the box around it (undefined around nothing).

    The edges of the covers cut a box into cells, each of which is hidden or seen as a whole.
    """
    spans, hides = [], []
    for axis in (0, 1):
        low, high = xyxy[..., axis, None], xyxy[..., axis + 2, None]
        inner = covers[..., axis::2].flatten(-2).clamp(low, high)
        edges = torch.cat([low, inner, high], dim=-1).sort(dim=-1).values
        start, end = edges[..., :-1], edges[..., 1:]
        hides.append(
            (covers[..., axis, None] <= start[..., None, :]) & (covers[..., axis + 2, None] >= end[..., None, :])
        )
        spans.append((start, end))
    (x0, x1), (y0, y1) = spans
    hidden = (hides[1][..., :, None] & hides[0][..., None, :]).any(dim=2)  # [B,N,2M+1,2M+1], rows are y
    cells = ((y1 - y0)[..., :, None] * (x1 - x0)[..., None, :]).masked_fill(hidden, 0)
    sides = [
        ends
        for (start, end), seen in zip(spans, ((cells > 0).any(dim=-2), (cells > 0).any(dim=-1)), strict=True)
        for ends in (start.masked_fill(~seen, torch.inf).amin(-1), end.masked_fill(~seen, -torch.inf).amax(-1))
    ]
    return cells.sum(dim=(-2, -1)), torch.stack([sides[0], sides[2], sides[1], sides[3]], dim=-1)


def warp_boxes(xyxy: Tensor, matrix: Tensor) -> Tensor:
    """Bounding boxes [B,N,4] of the four corners of `xyxy` [B,N,4] under `matrix` [B,3,3]."""
    x, y = xyxy[..., 0::2], xyxy[..., 1::2]
    corners = torch.stack([x[..., [0, 1, 1, 0]], y[..., [0, 0, 1, 1]]], dim=-1).double()  # [B,N,4,2]
    affine = matrix.to(corners)[:, None]
    moved = corners @ affine[..., :2, :2].transpose(-1, -2) + affine[..., None, :2, 2]
    return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1).to(xyxy.dtype)


def canvas_rectangle(size: Size, like: Tensor) -> Tensor:
    height, width = size
    return like.new_tensor([0, 0, width, height])[None, None]


def bounding_rectangle(region: Tensor) -> Tensor:
    """xyxy [B,4] around the set pixels of `region` bool [B,H,W]; an empty region has no area."""
    ends = []
    for axis in (1, 2):  # over x, then over y
        # The greatest byte says what `any` says, in a twentieth of its time.
        seen = region.view(torch.uint8).amax(dim=axis).bool()
        count = torch.arange(1, seen.shape[1] + 1, device=seen.device)
        end = (seen * count).amax(dim=1)
        start = end - seen.sum(dim=1)
        ends += [start, end]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)
