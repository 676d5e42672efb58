"""What every detector does with `Boxes` before and after its network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vision_tasks.types import Boxes, Size


def training_truth(boxes: Boxes) -> Tensor:
    """The rows a detector may learn from, bool [B,N]: neither padding nor crowds nor boxes without an area."""
    extent = boxes.xyxy[..., 2:] - boxes.xyxy[..., :2]
    return boxes.valid & ~boxes.crowd & (extent > 0).all(dim=-1)


def predicted(images: Sequence[tuple[Tensor, Tensor, Tensor]], size: Size) -> Boxes:
    """One padded batch, clipped to the canvas, out of each image's xyxy [N,4], label [N] and score [N].

    An inverted box, which a head that regresses distances can give, becomes an empty one.
    """
    height, width = size
    singles = []
    for xyxy, label, score in images:
        inside = xyxy.clamp(min=0).minimum(xyxy.new_tensor([width, height, width, height]))
        low, high = inside[:, :2], inside[:, 2:]
        singles.append(Boxes.single(torch.cat([low, high.maximum(low)], dim=1), label, score=score))
    return Boxes.stack(singles)
