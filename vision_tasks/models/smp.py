"""Segmentation networks of segmentation_models_pytorch (MIT): a decoder on any of its encoders."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.errors import unknown_name
from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.modes import mode
from vision_tasks.models.widen import statistics
from vision_tasks.types import IGNORE, Masks

# SMP keeps each encoder's own statistics on a server and not in the package. An untrained encoder needs none of its
# own; weights that were trained with others bring them along, because these two are buffers of the checkpoint.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class SmpSegmenter(TaskModel[Masks]):
    """An SMP network for canvases of any size.

    Losses: `cross_entropy`, the mean over all pixels that are not ignored, and `dice` (Milletari et al. 2016) over the
    classes that the batch shows. Both take soft truth (`Masks.probability`) where there is one.
    """

    mean: Tensor  # float32 [1,C,1,1]
    std: Tensor

    def __init__(self, info: ModelInfo, arch: str, encoder: str) -> None:
        super().__init__()
        known = smp.encoders.get_encoder_names()
        if encoder not in known:
            raise unknown_name("encoder", encoder, known)
        self.info = info
        self.net = smp.create_model(
            arch, encoder, encoder_weights=None, in_channels=info.channels, classes=len(info.classes)
        )
        self.dice = smp.losses.DiceLoss("multilabel", from_logits=False)
        self.register_buffer("mean", torch.tensor(statistics(MEAN, info.channels)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(statistics(STD, info.channels)).view(1, -1, 1, 1))

    def forward(self, images: Tensor, targets: Masks) -> dict[str, Tensor]:
        """Losses over the pixels that are not ignored; zero, with gradients, where all are."""
        logits = self._logits(images)
        counted = (targets.index != IGNORE)[:, None]  # bool [B,1,H,W]
        truth = targets.dense() * counted
        cross_entropy = F.cross_entropy(logits, truth, reduction="sum") / counted.sum().clamp(min=1)
        return {"cross_entropy": cross_entropy, "dice": self.dice(logits.softmax(dim=1) * counted, truth)}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Masks:
        """The likeliest class of every pixel, and the probabilities of all, float32 [B,K,H,W]."""
        with mode(self.modules(), training=False):
            probability = self._logits(images).softmax(dim=1)
        classes = len(self.info.classes)
        index = probability.argmax(dim=1).to(torch.uint8 if classes < IGNORE else torch.int16)
        return Masks(index, classes, probability)

    @property
    def backbone(self) -> nn.Module:
        """The encoder; SMP's ResNets have the names of torchvision's."""
        encoder: nn.Module = self.net.encoder
        return encoder

    @property
    def class_layers(self) -> dict[str, int]:
        return {"net.segmentation_head.0": 1}

    def _logits(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        step = self.net.encoder.output_stride
        normal = (images - self.mean) / self.std
        padded = F.pad(normal, (0, -width % step, 0, -height % step))
        logits: Tensor = self.net(padded)[..., :height, :width]
        return logits.float()
