"""Predictions that can be differentiated: what explains a network asks how its output depends on its inner layers."""

from __future__ import annotations

import inspect
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from vision_tasks.models.base import TaskModel
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.modes import mode, without_autocast
from vision_tasks.models.segmenter import Segmenter
from vision_tasks.models.ultralytics_yolo import UltralyticsYolo
from vision_tasks.types import Boxes, Labels, Masks
from vision_tasks.types.tensors import likeliest


def evidence(model: TaskModel[Any], images: Tensor) -> Any:
    """What `predict` says of images [B,C,H,W], with gradients, and with logits in place of probabilities.

    Scores of boxes stay what they are, since a network of regions has no logit of its own for each box. Neither the
    training mode nor any `grad` is changed.
    """
    with torch.enable_grad(), mode(model.modules(), training=False):
        return _evidence(model, images)


@singledispatch
def _evidence(model: TaskModel[Any], images: Tensor) -> Any:
    # Beneath the decorator that turns gradients off.
    return inspect.unwrap(type(model).predict)(model, images)


@_evidence.register
def _of_whole_images(model: Classifier, images: Tensor) -> Labels:
    return Labels(model.outputs(images)[0])


@_evidence.register
def _of_pixels(model: Segmenter, images: Tensor) -> Masks:
    (logits,) = model.outputs(images)
    return Masks(likeliest(logits).to(torch.uint8), len(model.info.classes), logits)


@_evidence.register
def _of_places(model: UltralyticsYolo, images: Tensor) -> Boxes:
    # In training mode, which `outputs` sets, the head of one box an object is cut off from the layers below it.
    with without_autocast(images.device):
        _, raw = model.net(images)
        return model.decoder((model._all_boxes(raw),), (images.shape[-2], images.shape[-1]))
