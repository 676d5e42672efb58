"""Detectors of torchvision (BSD-3-Clause): Faster R-CNN."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.boxes import predicted, training_truth
from vision_tasks.models.modes import mode
from vision_tasks.types import Boxes

# COCO's average precision integrates over all scores and counts the best 100 boxes of an image; torchvision's own 0.05
# cuts the tail of the curve off.
SCORE_THRESHOLD = 0.001
MAX_DETECTIONS = 100
NMS_THRESHOLD = 0.5


class TorchvisionDetector(TaskModel[Boxes]):
    """A torchvision Faster R-CNN that takes the canvas as it is, of any size.

    Losses: `objectness` and `rpn_box_reg` of the proposals, `classifier` and `box_reg` of the boxes. Built without
    pretrained weights, torchvision gives the backbone a BatchNorm that learns, and leaves no layer frozen.
    """

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        self.info = info
        self.net = torchvision.models.get_model(
            info.name,
            weights=None,
            weights_backbone=None,
            num_classes=len(info.classes) + 1,
            box_score_thresh=SCORE_THRESHOLD,
            box_nms_thresh=NMS_THRESHOLD,
            box_detections_per_img=MAX_DETECTIONS,
        )
        self.net.transform.resize = _keep_size
        # Anchors, box arithmetic and losses take the type of these outputs; in bfloat16 a corner at 500 px is 2 px off.
        for part in (self.net.backbone, self.net.rpn.head, self.net.roi_heads.box_predictor):
            part.register_forward_hook(_in_float32)
        self.net.rpn.register_forward_hook(_at_least_one_proposal)

    def forward(self, images: Tensor, targets: Boxes) -> dict[str, Tensor]:
        """Losses against the boxes that have an area and are no crowds."""
        keep = training_truth(targets)
        truth = [
            {"boxes": xyxy[rows], "labels": label[rows] + 1}  # class 0 is torchvision's background
            for xyxy, label, rows in zip(targets.xyxy, targets.label, keep, strict=True)
        ]
        # Only these four ask for the flag to choose their output; BatchNorm keeps the mode the caller gave it.
        steps = (self.net, self.net.transform, self.net.rpn, self.net.roi_heads)
        with mode(steps, training=True):
            losses: dict[str, Tensor] = self.net(list(images), truth)
        return {name.removeprefix("loss_"): loss.float() for name, loss in losses.items()}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Boxes:
        """At most 100 boxes an image, best first."""
        with mode(self.modules(), training=False):
            found = self.net(list(images))
        height, width = images.shape[-2:]
        return predicted([(image["boxes"], image["labels"] - 1, image["scores"]) for image in found], (height, width))

    @property
    def backbone(self) -> nn.Module:
        """The network below the feature pyramid; a ResNet has here the names it has as a classifier."""
        body: nn.Module = self.net.backbone.body
        return body


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
