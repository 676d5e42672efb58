"""Regions of a feature pyramid brought to one size, with a gradient that costs a CPU little.

The operation is RoI align (He et al. 2017, "Mask R-CNN", section 3) without the half-pixel shift: a box is cut into
7 x 7 bins, each the mean of four bilinear samples, and taken from the level that fits its size (Lin et al. 2017,
"Feature Pyramid Networks", equation 1). It is linear in the features and separable in x and y, so a region is a matrix
with 16 entries a bin, and its gradient the same matrix transposed; torchvision's kernel for CPUs adds the gradient up
one number at a time, and took half of a training step.

A first layer behind it that is linear as well can change places with it: small maps have fewer pixels than a training
has boxes, and then it is cheaper to project every pixel first and to pool the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vision_tasks.types import Size

BINS = 7
SAMPLES = 2  # in a bin, along each axis
CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4  # a box of 224 px belongs to the level of stride 2**4


@dataclass(frozen=True)
class Regions:
    """Boxes on a pyramid, not pooled yet: R boxes, P pixels of all images and levels together."""

    table: Tensor  # float [P,C]: every pixel of every map, a map behind the other
    maps: tuple[_Map, ...]
    of_map: Tensor  # int64 [R]
    y: tuple[Tensor, Tensor]  # rows int64 [R,BINS,2*SAMPLES] that make a bin, and their weights
    x: tuple[Tensor, Tensor]

    @property
    def projecting_is_cheaper(self) -> bool:
        """Whether fewer multiplications lead through projected pixels than through pooled boxes."""
        channels = self.table.shape[1]
        pixels = torch.tensor([one.pixels for one in self.maps], device=self.of_map.device)
        projected = len(self.table) * channels + int(pixels[self.of_map].sum())
        return projected < len(self.of_map) * channels

    def pooled(self) -> Tensor:
        """Features of every box, [R,C,BINS,BINS]."""
        start = torch.tensor([one.start for one in self.maps], device=self.of_map.device)[self.of_map]
        width = torch.tensor([one.width for one in self.maps], device=self.of_map.device)[self.of_map]
        rows, columns = self.y[0] * width[:, None, None] + start[:, None, None], self.x[0]
        index = (rows[:, :, None, :, None] + columns[:, None, :, None, :]).flatten(3)  # [R,BINS,BINS,16]
        weight = (self.y[1][:, :, None, :, None] * self.x[1][:, None, :, None, :]).flatten(3)
        bins = functional.embedding_bag(
            index.flatten(0, 2), self.table, per_sample_weights=weight.flatten(0, 2), mode="sum"
        )
        channels = bins.shape[1]
        return bins.view(-1, BINS * BINS, channels).transpose(1, 2).reshape(-1, channels, BINS, BINS)

    def projected(self, layer: nn.Linear) -> Tensor:
        """What `layer` makes of every box's pooled and flattened features, [R,O]."""
        bins, out = BINS * BINS, layer.out_features
        per_bin = layer.weight.view(out, -1, bins).permute(1, 2, 0)  # [C,49,O]
        pixels = (self.table @ per_bin.flatten(1)).view(-1, out)  # [P*49,O]
        boxes, parts = [], []
        for number, one in enumerate(self.maps):
            rows = (self.of_map == number).nonzero()[:, 0]
            boxes.append(rows)
            parts.append(self._dense(rows, one) @ pixels[one.start * bins : (one.start + one.pixels) * bins])
        order = torch.cat(boxes).argsort()
        return torch.cat(parts)[order] + layer.bias

    def _dense(self, rows: Tensor, one: _Map) -> Tensor:
        """Weights [r, pixels * BINS * BINS] of the pixels of a map in the bins of its boxes."""
        y, x = (
            weight.new_zeros(len(rows), BINS, length).scatter_add_(2, index[rows], weight[rows])
            for (index, weight), length in ((self.y, one.height), (self.x, one.width))
        )
        return torch.einsum("rpy,rqx->ryxpq", y, x).flatten(1)


@dataclass(frozen=True)
class _Map:
    """Where the features of one image at one level lie in the table."""

    start: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width


def regions(levels: Sequence[Tensor], boxes: Sequence[Tensor], size: Size) -> Regions:
    """`boxes` (xyxy [r,4] an image, canvas pixels) on `levels` ([B,C,h,w], the finest first) of canvases of `size`."""
    scales = [2.0 ** round(log2(level.shape[-2] / size[0])) for level in levels]
    # Levels are found by stride: of two with the same, as MobileNet's pyramid has them, boxes reach the first only.
    scales = scales[: round(log2(scales[0] / scales[-1])) + 1]
    levels = levels[: len(scales)]
    shapes = [(level.shape[-2], level.shape[-1]) for level in levels for _ in boxes]
    starts = torch.tensor([0] + [height * width for height, width in shapes]).cumsum(0).tolist()
    maps = tuple(_Map(start, *shape) for start, shape in zip(starts, shapes, strict=False))
    xyxy = torch.cat(list(boxes))
    level = _levels(xyxy, scales)
    image = torch.arange(len(boxes), device=xyxy.device).repeat_interleave(
        torch.tensor([len(one) for one in boxes], device=xyxy.device)
    )
    on_map = xyxy * xyxy.new_tensor(scales)[level][:, None]
    sides = xyxy.new_tensor([(one.shape[-2], one.shape[-1]) for one in levels])[level]  # [R,2]
    table = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in levels])
    y, x = (_axis(on_map[:, axis], on_map[:, axis + 2], sides[:, 1 - axis]) for axis in (1, 0))
    return Regions(table, maps, level * len(boxes) + image, y, x)


def _levels(xyxy: Tensor, scales: Sequence[float]) -> Tensor:
    finest, coarsest = -log2(scales[0]), -log2(scales[-1])
    side = ((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIZE) + 1e-6)
    return (level.clamp(finest, coarsest) - finest).long()


def _axis(start: Tensor, end: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis: which pixels [R,BINS,2*SAMPLES] make a bin, and by which weights.

    Samples more than a pixel outside the map are 0; nearer ones take the border's value.
    """
    bin_size = (end - start).clamp(min=1) / BINS
    step = (torch.arange(BINS * SAMPLES, device=start.device) + 0.5) / SAMPLES
    place = start[:, None] + step * bin_size[:, None]
    last = length[:, None] - 1
    inside = (place >= -1) & (place <= length[:, None])
    place = place.clamp(min=0)
    low = place.floor().minimum(last)
    part = place - low
    weight = torch.stack([1 - part, part], dim=-1) * inside[..., None] / SAMPLES
    index = torch.stack([low, (low + 1).minimum(last)], dim=-1).long()
    return index.view(-1, BINS, 2 * SAMPLES), weight.view(-1, BINS, 2 * SAMPLES)


class RegionPool(nn.Module):
    """In place of torchvision's pooling: the same numbers up to rounding, and another way back.

    Where there is no gradient to pass, and on devices where torchvision's is fast, it is torchvision's own. Whoever
    cares more for speed than for its last bits unsets `exact`: that kernel takes one core, and one number at a time.
    """

    def __init__(self, own: Any, lazy: bool) -> None:
        super().__init__()
        self.own, self.lazy = own, lazy  # lazy: for a `RegionHead`, which can do without pooling
        self.exact = True

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[Size]) -> Tensor | Regions:
        levels = [features[name] for name in self.own.featmap_names if name in features]
        as_torchvision = not levels[0].requires_grad and (self.exact or not sum(map(len, boxes)))
        if levels[0].device.type != "cpu" or as_torchvision:
            pooled: Tensor = self.own(features, boxes, sizes)
            return pooled
        found = regions(levels, boxes, sizes[0])
        return found if self.lazy and found.projecting_is_cheaper else found.pooled()


class RegionHead(nn.Module):
    """Two linear layers with ReLU on regions, pooled or not; takes over the layers of torchvision's head."""

    def __init__(self, fc6: nn.Linear, fc7: nn.Linear) -> None:
        super().__init__()
        self.fc6, self.fc7 = fc6, fc7

    def forward(self, found: Tensor | Regions) -> Tensor:
        first = found.projected(self.fc6) if isinstance(found, Regions) else self.fc6(found.flatten(1))
        second: Tensor = self.fc7(first.relu())
        return second.relu()
