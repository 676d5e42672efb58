"""Whole-image classifiers of torchvision (BSD-3-Clause): the ResNets."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.modes import mode
from vision_tasks.types import Labels

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0,1]; torchvision/transforms/_presets.py
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchvisionClassifier(TaskModel[Labels]):
    """A torchvision ResNet that learns from hard, several-hot or soft labels.

    Losses: `cross_entropy`. Predictions: `Labels` of softmax probabilities, float32 [B,K].
    """

    mean: Tensor  # float32 [1,3,1,1]
    std: Tensor

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        self.info = info
        self.net = torchvision.models.get_model(info.name, weights=None, num_classes=len(info.classes))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor, targets: Labels) -> dict[str, Tensor]:
        """Cross-entropy against `targets.weight` [B,K], averaged over the batch."""
        return {"cross_entropy": F.cross_entropy(self._logits(images), targets.weight)}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Labels:
        """Class probabilities of images [B,3,H,W]."""
        with mode(self.modules(), training=False):
            return Labels(self._logits(images).softmax(dim=1))

    @property
    def backbone(self) -> nn.Module:
        """All but the classifier, under torchvision's names (conv1, bn1, layer1 ...), which SMP's encoders share."""
        return nn.Sequential(OrderedDict((name, part) for name, part in self.net.named_children() if name != "fc"))

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits.float()
