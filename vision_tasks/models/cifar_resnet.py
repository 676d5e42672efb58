"""The ResNets for CIFAR of He et al., Deep residual learning for image recognition, 2015 (section 4.2).

6n + 2 layers: a 3x3 convolution, three stages of n blocks with 16, 32 and 64 maps, average pooling, a dense layer.
Shortcuts have no parameters (option A). Made for 32x32 pixels; as the pooling is global, any canvas will do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier

DEPTHS = (20, 32, 44, 56, 110)
WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; the first one may halve the resolution."""

    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, maps, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(maps)
        self.stride = stride
        self.added = maps - inputs

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        # Option A: every second pixel, and zeros for the maps that are new.
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(residual + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """Logits [B,K] of images [B,C,H,W]."""

    def __init__(self, depth: int, channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(blocks, WIDTHS[0], WIDTHS[0], 1)
        self.layer2 = _stage(blocks, WIDTHS[0], WIDTHS[1], 2)
        self.layer3 = _stage(blocks, WIDTHS[1], WIDTHS[2], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def build(info: ModelInfo) -> Classifier:
    """`cifar_resnet20` and its deeper relatives: 0.27, 0.46, 0.66, 0.85 and 1.73 million parameters."""
    depth = int(info.name.removeprefix("cifar_resnet"))
    return Classifier(info, CifarResNet(depth, info.channels, len(info.classes)), "fc")


def _stage(blocks: int, inputs: int, maps: int, stride: int) -> nn.Sequential:
    first = Block(inputs, maps, stride)
    return nn.Sequential(first, *(Block(maps, maps, 1) for _ in range(blocks - 1)))
