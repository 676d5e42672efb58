"""Every network for masks behind one contract: statistics, padding, losses and probabilities around any `nn.Module`.

An adapter builds the network and says which canvases it takes; the rest follows from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.decoding import MaskLogits
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.mask_losses import MaskCriterion
from vision_tasks.models.normalisation import IMAGENET_MEAN, IMAGENET_STD
from vision_tasks.models.widen import statistics
from vision_tasks.types import IGNORE, Masks

AUXILIARY_WEIGHT = 0.5  # of torchvision's references/segmentation
MOST_CLASSES = IGNORE - 1  # as files of masks have: a byte each, of which 254 and 255 are no class


class Segmenter(Exportable[Masks]):
    """A network that gives logits [B,K,H,W], for canvases of any size.

    Losses: those of `learn_by`, else `own_losses`; of an auxiliary output also its own, named `..._aux`, weighted 0.5.
    Predictions: `Masks` with softmax probabilities, float32 [B,K,H,W].
    """

    own_losses: tuple[str, ...] = ("cross_entropy", "dice")

    mean: Tensor  # float32 [1,C,1,1]
    std: Tensor
    class_weight: Tensor | None  # float32 [K]

    def __init__(self, info: ModelInfo, net: nn.Module, *, multiple: int = 1, smallest: int = 1) -> None:
        """`net` takes sides that are multiples of `multiple`, and at least `smallest`.

        Raises UserError for more classes than a mask can hold.
        """
        super().__init__()
        if len(info.classes) > MOST_CLASSES:
            raise UserError(
                f"{info.name}: masks hold {MOST_CLASSES} classes at most, not {len(info.classes)}; merge some classes"
            )
        self.info = info
        self.net = net
        self.multiple, self.smallest = multiple, smallest
        self.register_buffer("mean", torch.tensor(statistics(IMAGENET_MEAN, info.channels)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(statistics(IMAGENET_STD, info.channels)).view(1, -1, 1, 1))
        self.register_buffer("class_weight", None, persistent=False)
        self.criterion = MaskCriterion.chosen(self.own_losses)

    def forward(self, images: Tensor, targets: Masks) -> dict[str, Tensor]:
        """Losses over the pixels that are not ignored; zero, with gradients, where all are."""
        losses = {}
        for suffix, logits in self._logits(images, auxiliary=True).items():
            weight = AUXILIARY_WEIGHT if suffix else 1.0
            for name, loss in self.criterion.losses(logits, targets, self.class_weight).items():
                losses[name + suffix] = weight * loss
        return losses

    def outputs(self, images: Tensor) -> tuple[Tensor]:
        """Logits [B,K,H,W]."""
        return (self._logits(images, auxiliary=False)[""],)

    @property
    def decoder(self) -> MaskLogits:
        return MaskLogits()

    def learn_by(self, losses: Sequence[str], label_smoothing: float = 0.0, class_weight: Tensor | None = None) -> None:
        self.criterion = MaskCriterion.chosen(losses or self.own_losses, label_smoothing)
        self.class_weight = None if class_weight is None else class_weight.to(self.mean)

    def maps(self, normal: Tensor, auxiliary: bool) -> Mapping[str, Tensor]:
        """Logits [B,K,H,W] of normalised images [B,C,H,W], by the suffix of their losses; auxiliary ones if wanted."""
        return {"": self.net(normal)}

    def _logits(self, images: Tensor, auxiliary: bool) -> dict[str, Tensor]:
        height, width = images.shape[-2:]
        # After normalisation, so that the padding is the mean colour: to the network neither dark nor bright.
        normal = (images - self.mean) / self.std
        padded = F.pad(normal, (0, self._missing(width), 0, self._missing(height)))
        found = self.maps(padded, auxiliary)
        return {suffix: logits[..., :height, :width].float() for suffix, logits in found.items()}

    def _missing(self, side: int) -> int:
        return max(-side % self.multiple, self.smallest - side)
