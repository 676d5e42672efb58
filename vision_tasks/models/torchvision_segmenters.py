"""Segmentation networks of torchvision (BSD-3-Clause): FCN, DeepLabV3 and LR-ASPP.

Their size multiple is 1: they enlarge their logits to the images' size, whatever it is.
"""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.batch_norm import allow_single_values
from vision_tasks.models.segmenter import Segmenter
from vision_tasks.models.widen import widen_first_convolution

WITHOUT_AUXILIARY = ("lraspp_mobilenet_v3_large",)


class TorchvisionSegmenter(Segmenter):
    """Long et al. 2015, Chen et al. 2017, or Howard et al. 2019, on a dilated ResNet or MobileNetV3.

    All but LR-ASPP have an auxiliary output, from the backbone's last stage but one, which learning alone looks at.
    """

    own_losses = ("cross_entropy",)

    def __init__(self, info: ModelInfo) -> None:
        options: dict[str, Any] = {} if info.name in WITHOUT_AUXILIARY else {"aux_loss": True}
        net: Any = torchvision.models.get_model(
            info.name, weights=None, weights_backbone=None, num_classes=len(info.classes), **options
        )
        widen_first_convolution(net, info.channels)
        allow_single_values(net)
        super().__init__(info, net)

    def maps(self, normal: Tensor, auxiliary: bool) -> dict[str, Tensor]:
        net: Any = self.net
        features = net.backbone(normal)
        found = {"": net.classifier(features.get("out", features))}  # LR-ASPP's takes two maps
        if auxiliary and "aux" in features:
            found["_aux"] = net.aux_classifier(features["aux"])
        return {suffix: _enlarged(logits, normal) for suffix, logits in found.items()}

    @property
    def backbone(self) -> nn.Module:
        """Everything below the heads, its tensors under the names that they have in a classifier."""
        body = self.net.get_submodule("backbone")
        return body if hasattr(body, "layer4") else nn.ModuleDict({"features": body})

    @property
    def class_layers(self) -> dict[str, int]:
        ends = ("low_classifier", "high_classifier", "classifier.4")
        return {name: 1 for name, _ in self.named_modules() if name.endswith(ends)}


def _enlarged(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
