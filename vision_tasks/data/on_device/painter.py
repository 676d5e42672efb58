"""Paints the noted canvases of a batch on their device: one warp for all images, then what covers and mixes them.

The device's twin of `PixelSurface`. Values stay floats from the warp to the batch, where that one rounds to bytes after
each step, so both differ by rounding and by what sets their filters apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.on_device.notes import Mixed, Noted, Notes
from vision_tasks.data.on_device.originals import settled_by
from vision_tasks.types import RaggedImages, Region, Size
from vision_tasks.warp import BORDER

_NO_REGION = (0, 0, 0, 0)
_SAME_COLOUR = np.eye(3, 4, dtype=np.float32)


class Warp(Protocol):
    """`warp_triton.warp_batch`, or another function that does the same."""

    def __call__(
        self,
        images: RaggedImages,
        canvas: Tensor,
        matrix: Tensor,
        size: Size,
        count: int,
        *,
        colour: Tensor | None = None,
        region: Tensor | None = None,
        mirror: Tensor | None = None,
        reduction: Tensor | None = None,
    ) -> Tensor:
        """float32 [count,3,H,W] in [0,1], channels-last."""


def paint(canvases: Sequence[Notes], uploaded: Tensor, size: Size, warp: Warp) -> Tensor:
    """The pixels of `canvases` of `size`, float32 [B,3,H,W] in [0,1], channels-last, on the device of `uploaded`.

    `uploaded` uint8 [bytes] is their upload there; files that wait for a decoder are not accepted.
    """
    above = {id(layer): layer for notes in canvases for layer in notes.layers() if layer is not notes}
    layers = [*canvases, *above.values()]
    images = _warp_all(layers, uploaded, size, warp)
    _erase(images, layers)
    place = {id(layer): index for index, layer in enumerate(layers)}
    for step in range(max((len(notes.mixes) for notes in canvases), default=0)):
        rows = [row for row, notes in enumerate(canvases) if len(notes.mixes) > step]
        mixes = [canvases[row].mixes[step] for row in rows]
        _mix(images, rows, [place[id(mix.other)] for mix in mixes], mixes)
    return images[: len(canvases)]


def _warp_all(layers: Sequence[Notes], uploaded: Tensor, size: Size, warp: Warp) -> Tensor:
    patches = [patch for layer in layers for patch in layer.patches]
    canvas = [index for index, layer in enumerate(layers) for _ in layer.patches]
    matrix = np.array([patch.matrix for patch in patches]).reshape(-1, 3, 3)
    coloured = any(patch.colour is not None for patch in patches)
    mirrors = [patch.mirror or _NO_REGION for patch in patches]
    return warp(
        _gathered(patches, uploaded),
        torch.tensor(canvas, dtype=torch.int64),
        torch.from_numpy(matrix),
        size,
        len(layers),
        colour=_colours(patches) if coloured else None,
        region=_regions([patch.region for patch in patches]),
        mirror=_regions(mirrors) if any(patch.mirror for patch in patches) else None,
        reduction=torch.tensor([patch.reduction for patch in patches]),
    )


def _gathered(patches: Sequence[Noted], uploaded: Tensor) -> RaggedImages:
    """All images in one piece: those that were uploaded, then those that the device had."""
    held = [patch.held for patch in patches if patch.held is not None]
    lengths = [len(pixels) for pixels in held]
    behind = iter((len(uploaded) + np.cumsum([0, *lengths])).tolist())
    offsets = [patch.start if patch.held is None else next(behind) for patch in patches]
    sizes = np.array([patch.size for patch in patches], np.int32).reshape(-1, 2)
    data = torch.cat([uploaded, *held]) if held else uploaded
    return RaggedImages(data, torch.tensor(offsets, dtype=torch.int64), torch.from_numpy(sizes))


def _colours(patches: Sequence[Noted]) -> Tensor:
    """float32 [P,3,4]"""
    rows = [
        _SAME_COLOUR if patch.colour is None or patch.grey is None else settled_by(patch.colour, patch.grey)
        for patch in patches
    ]
    return torch.from_numpy(np.array(rows))


def _regions(regions: Sequence[Region]) -> Tensor:
    """int64 [N,4]"""
    return torch.tensor(regions, dtype=torch.int64).reshape(-1, 4)


def _erase(images: Tensor, layers: Sequence[Notes]) -> None:
    for step in range(max((len(layer.erased) for layer in layers), default=0)):
        rows = [row for row, layer in enumerate(layers) if len(layer.erased) > step]
        inside = _inside([layers[row].erased[step] for row in rows], images)
        where = torch.tensor(rows, device=images.device)
        images[where] = images[where].masked_fill(inside, BORDER / 255)


def _mix(images: Tensor, rows: Sequence[int], others: Sequence[int], mixes: Sequence[Mixed]) -> None:
    inside = _inside([mix.region for mix in mixes], images)
    amount = torch.tensor([mix.amount for mix in mixes], device=images.device)[:, None, None, None]
    where, other = (torch.tensor(each, device=images.device) for each in (rows, others))
    images[where] = torch.lerp(images[where], images[other], amount * inside)


def _inside(regions: Sequence[Region], images: Tensor) -> Tensor:
    """bool [N,1,H,W], set in each of N regions of canvases like `images`."""
    x0, y0, x1, y1 = _regions(regions).to(images.device)[..., None].unbind(dim=1)  # [N,1] each
    column, row = (torch.arange(side, device=images.device) for side in (images.shape[3], images.shape[2]))
    across, down = (column >= x0) & (column < x1), (row >= y0) & (row < y1)
    return torch.logical_and(down[:, None, :, None], across[:, None, None, :])
