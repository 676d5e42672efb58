"""Detectors of torchvision (BSD-3-Clause): Faster R-CNN, RetinaNet, FCOS, SSD and SSDlite."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from vision_tasks.errors import UserError
from vision_tasks.models import torchvision_coco
from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.boxes import predicted, training_truth
from vision_tasks.models.modes import mode
from vision_tasks.models.roi_pooling import RegionHead, RegionPool
from vision_tasks.types import Boxes

# COCO's average precision integrates over all scores and counts the best 100 boxes of an image; torchvision's own
# thresholds, 0.05 or 0.2, cut the tail of the curve off. Non-maximum suppression is each family's own.
SCORE_THRESHOLD = 0.001
MAX_DETECTIONS = 100

_SCORES = re.compile(r"net\.head\.classification_head\.(cls_logits|module_list\.\d+(\.1)?)")


class TorchvisionDetector(TaskModel[Boxes]):
    """What torchvision's detectors have in common: they take the canvas as it is, under their own normalisation.

    Built without pretrained weights, torchvision gives the backbone a BatchNorm that learns, and freezes no layer.
    Names of losses are torchvision's: RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection") and FCOS
    (Tian et al. 2019) have `classification` and `bbox_regression`, FCOS `bbox_ctrness` too.
    """

    options: Mapping[str, Any] = {"score_thresh": SCORE_THRESHOLD, "detections_per_img": MAX_DETECTIONS}

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        self.info = info
        self.net: Any = torchvision.models.get_model(
            info.name,
            weights=None,
            weights_backbone=None,
            num_classes=len(info.classes) + self.background,
            **self.options,
        )
        self.net.transform.resize = _keep_size
        # Anchors, box arithmetic and losses take the type of these outputs; in bfloat16 a corner at 500 px is 2 px off.
        for part in self.computed():
            part.register_forward_hook(_in_float32)

    def forward(self, images: Tensor, targets: Boxes) -> dict[str, Tensor]:
        """Losses against the boxes that have an area and are no crowds."""
        keep = training_truth(targets)
        truth = [
            {"boxes": xyxy[rows], "labels": label[rows] + self.background}
            for xyxy, label, rows in zip(targets.xyxy, targets.label, keep, strict=True)
        ]
        # Only these ask for the flag to choose their output; BatchNorm keeps the mode the caller gave it.
        with mode(self.deciding(), training=True):
            losses: dict[str, Tensor] = self.net(list(images), truth)
        return {name.removeprefix("loss_"): loss.float() for name, loss in losses.items()}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Boxes:
        """At most 100 boxes an image, best first."""
        with mode(self.modules(), training=False):
            found = self.net(list(images))
        size = (images.shape[-2], images.shape[-1])
        return predicted([(one["boxes"], one["labels"] - self.background, one["scores"]) for one in found], size)

    def from_published(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `torchvision_coco`."""
        own = self.net.state_dict()
        found = torchvision_coco.renamed(tensors, own)
        if self.info.class_ids:
            found = torchvision_coco.only_outputs(found, own, (0, *self.info.class_ids)[1 - self.background :])
        if self.info.name in torchvision_coco.WITHOUT_EPSILON:
            found = torchvision_coco.with_epsilon(found, nn.BatchNorm2d(1).eps)
        return found

    @property
    def backbone(self) -> nn.Module:
        """The network below the feature pyramid, its tensors under the names that they have in a classifier."""
        body: nn.Module = self.net.backbone.body
        return body if hasattr(body, "layer4") else nn.ModuleDict({"features": body})

    @property
    def class_layers(self) -> dict[str, int]:
        """Of SSD, a convolution for each map; of RetinaNet and FCOS one for all."""
        convolutions = [name for name, module in self.named_modules() if isinstance(module, nn.Conv2d)]
        return {name: 1 for name in convolutions if _SCORES.fullmatch(name)}

    def computed(self) -> list[nn.Module]:
        """The parts with weights whose outputs box arithmetic starts from."""
        return [self.net.backbone, self.net.head]

    def deciding(self) -> list[nn.Module]:
        """The parts that give losses in training mode, and boxes otherwise."""
        return [self.net, self.net.transform]


class FasterRCNN(TorchvisionDetector):
    """Ren et al. 2015, on a feature pyramid (Lin et al. 2017).

    Losses: `objectness` and `rpn_box_reg` of the proposals, `classifier` and `box_reg` of the boxes.
    """

    background = 1
    options: Mapping[str, Any] = {"box_score_thresh": SCORE_THRESHOLD, "box_detections_per_img": MAX_DETECTIONS}

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info)
        self.net.rpn.register_forward_hook(_at_least_one_proposal)
        heads = self.net.roi_heads
        linear = hasattr(heads.box_head, "fc6")  # the improved model has convolutions here
        heads.box_roi_pool = RegionPool(heads.box_roi_pool, lazy=linear)
        if linear:
            heads.box_head = RegionHead(heads.box_head.fc6, heads.box_head.fc7)

    @property
    def class_layers(self) -> dict[str, int]:
        return {f"net.roi_heads.box_predictor.{name}": each for name, each in (("cls_score", 1), ("bbox_pred", 4))}

    def computed(self) -> list[nn.Module]:
        return [self.net.backbone, self.net.rpn.head, self.net.roi_heads.box_predictor]

    def deciding(self) -> list[nn.Module]:
        return [self.net, self.net.transform, self.net.rpn, self.net.roi_heads]


class SSD(TorchvisionDetector):
    """Liu et al. 2016, "SSD: Single Shot MultiBox Detector", and SSDlite (Sandler et al. 2018) on MobileNetV3.

    Default boxes are laid out in shares of the canvas. Losses: `bbox_regression` and `classification`, the latter over
    three times as many negatives as boxes: images without boxes teach nothing.
    """

    background = 1
    SIDES: Mapping[str, int] = {"ssd300_vgg16": 300}  # distances between its default boxes fit this canvas only

    @property
    def backbone(self) -> nn.Module:
        """VGG-16's or MobileNet's convolutions; SSDlite's last ones are half as wide as the classifier's."""
        below = self.net.backbone
        if self.info.name not in self.SIDES:
            return nn.ModuleDict({"features": below.features})
        *last, _ = below.extra[0]  # the rest of VGG, then the layers that were linear in it
        return nn.ModuleDict({"features": nn.Sequential(*below.features, *last)})

    def require_canvas(self, side: int) -> None:
        only = self.SIDES.get(self.info.name, side)
        if side != only:
            raise UserError(f"--image-size {side}: {self.info.name} has boxes for {only} px only; use {only}")


FAMILIES: Mapping[str, type[TorchvisionDetector]] = {"fasterrcnn": FasterRCNN, "ssd300": SSD, "ssdlite320": SSD}


def build(info: ModelInfo) -> TorchvisionDetector:
    """The detector of that name."""
    return FAMILIES.get(info.name.partition("_")[0], TorchvisionDetector)(info)


def _keep_size(image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
    return image, target


def _in_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return {name: _in_float32(module, inputs, value) for name, value in output.items()}
    return type(output)(_in_float32(module, inputs, value) for value in output)


def _at_least_one_proposal(rpn: nn.Module, inputs: Any, output: Any) -> Any:
    """The whole canvas where an image has no proposal left: a mean over none is not a number.

    It happens on images without objects as soon as the proposal network rightly scores all of them below its threshold.
    """
    proposals, losses = output
    if rpn.training:
        sizes = inputs[0].image_sizes
        proposals = [
            boxes if len(boxes) else boxes.new_tensor([[0, 0, width, height]])
            for boxes, (height, width) in zip(proposals, sizes, strict=True)
        ]
    return proposals, losses
