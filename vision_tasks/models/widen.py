"""First layers for images of other than three channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RGB = 3


def widen(weight: Tensor, channels: int) -> Tensor:
    """RGB filters [O,3,h,w] as filters [O,channels,h,w].

    The first three channels keep the filters of red, green and blue, all others get the mean of the three; a sum over
    more channels would be larger, so all are scaled by 3/channels. Fewer than three channels get the mean alone.
    """
    mean = weight.mean(dim=1, keepdim=True)
    kept = weight if channels >= RGB else weight[:, :0]
    added = mean.expand(-1, channels - kept.shape[1], -1, -1)
    return torch.cat([kept, added], dim=1) * (RGB / channels)


def widen_first_convolution(net: nn.Module, channels: int) -> None:
    """Give an untrained RGB network `channels` inputs: its first convolution is drawn anew, as large as it was."""
    if channels == RGB:
        return
    first = next(part for part in net.modules() if isinstance(part, nn.Conv2d))
    with torch.no_grad():
        first.weight = nn.Parameter(_like(first.weight, channels))
    first.in_channels = channels


def statistics(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or deviation of red, green and blue (or of grey) for `channels`: others than these get their mean."""
    mean = sum(values) / len(values)
    known = values if channels >= len(values) else ()
    return (*known, *[mean] * (channels - len(known)))


def _like(weight: Tensor, channels: int) -> Tensor:
    shape = (weight.shape[0], channels, *weight.shape[2:])
    deviation: Tensor = weight.std() * (RGB / channels) ** 0.5  # the sum over channels keeps its variance
    return torch.randn(shape, device=weight.device) * deviation
