"""What the kinds of target share: classes renumbered, tensors brought to a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def renumber(values: Tensor, numbers: Sequence[int]) -> Tensor:
    """[B,K,...] with class i moved to place `numbers[i]`."""
    moved = torch.empty_like(values)
    moved[:, list(numbers)] = values
    return moved


def move(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on `device`, without waiting where nobody could read it too early."""
    # Towards the CPU a copy must have ended before anyone reads it; towards a device the stream keeps the order.
    return tensor.to(device, non_blocking=torch.device(device).type != "cpu")
