"""Networks in two parts: tensors, which any engine may compute, and what they mean, which is read here alone.

`torchvision_detectors` are not among them: they choose regions in the middle of the network.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vision_tasks.models.base import TaskModel
from vision_tasks.models.decoding import Decoder, above
from vision_tasks.models.modes import mode, without_autocast
from vision_tasks.types import T


class Exportable(TaskModel[T]):
    """A model whose `predict` is `decoder` after `outputs`."""

    least_score: float = 0.0  # boxes below it may be left out of predictions

    @abstractmethod
    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """What `decoder` reads, float32, for images [B,C,H,W] in [0, 1]; B leads everywhere. In evaluation mode."""

    @property
    @abstractmethod
    def decoder(self) -> Decoder[T]:
        """What the outputs mean."""

    @torch.no_grad()
    def predict(self, images: Tensor) -> T:
        """Predictions in canvas pixels."""
        with mode(self.modules(), training=False):
            outputs = self.outputs(images)
        with without_autocast(images.device):
            return above(self.decoder, self.least_score)(outputs, (images.shape[-2], images.shape[-1]))
