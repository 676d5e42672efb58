"""The U-Net as it was published: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015.

Deviations: convolutions are padded, so that the mask is as large as the image and skips need no cropping. As in the
authors' released network, though not in the paper's text, a ReLU follows each up-convolution, and dropout has the rate
1/2, after the contracting path's last two levels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.segmenter import Segmenter

WIDTHS = (64, 128, 256, 512, 1024)  # channels of the levels, each at half the resolution of the one before
DROPPED = 2  # of the levels, the last ones


class OriginalUnet(Segmenter):
    """31.0 million parameters, no normalisation inside; sides are padded to multiples of 16."""

    own_losses = ("cross_entropy",)

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info, Unet(info.channels, len(info.classes)), multiple=2 ** (len(WIDTHS) - 1))

    @property
    def backbone(self) -> nn.Module:
        """The contracting path."""
        return self.net.get_submodule("down")

    @property
    def class_layers(self) -> dict[str, int]:
        return {"net.head": 1}


class Unet(nn.Module):
    """Images [B,channels,H,W] to logits [B,classes,H,W]; H and W are multiples of 16."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        rates = [0.0] * (len(WIDTHS) - DROPPED) + [0.5] * DROPPED
        inputs = (channels, *WIDTHS)
        self.down = nn.ModuleList(_level(*pair, rate) for pair, rate in zip(pairwise(inputs), rates, strict=True))
        self.up = nn.ModuleList(_Up(*pair) for pair in pairwise(reversed(WIDTHS)))
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        skips = [self.down[0](images)]
        for level in self.down[1:]:
            skips.append(level(F.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for up in self.up:
            features = up(features, skips.pop())
        logits: Tensor = self.head(features)
        return logits


class _Up(nn.Module):
    """Half the channels at twice the resolution, beside what the contracting path saw there."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.rise = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.level = _level(2 * outputs, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        risen = F.relu(self.rise(features), inplace=True)
        result: Tensor = self.level(torch.cat([skip, risen], dim=1))
        return result


def _level(inputs: int, outputs: int, rate: float = 0.0) -> nn.Sequential:
    convolutions = [
        part for width in (inputs, outputs) for part in (nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU(inplace=True))
    ]
    return nn.Sequential(*convolutions, *([nn.Dropout(rate)] if rate else []))


def _initialise(part: nn.Module) -> None:
    """Section 3: Gaussian weights of deviation sqrt(2 / N), N the inputs of one neuron."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        # The windows of an up-convolution don't overlap: each of its neurons sees one place.
        places = 1 if isinstance(part, nn.ConvTranspose2d) else part.weight[0, 0].numel()
        nn.init.normal_(part.weight, std=(2 / (part.in_channels * places)) ** 0.5)
        assert part.bias is not None
        nn.init.zeros_(part.bias)
