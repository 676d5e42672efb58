"""Whole-image classifiers of torchvision (BSD-3-Clause), untrained.

torchvision's AlexNet is the form of Krizhevsky's "One weird trick" (2014) with 61,100,840 parameters; that of the 2012
paper is `alexnet_single_tower`. GoogLeNet and Inception are built with their auxiliary classifiers.
"""

from __future__ import annotations

from typing import Any

import torchvision
from torch import nn

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.normalisation import IMAGENET_MEAN, IMAGENET_STD
from vision_tasks.models.widen import widen_first_convolution

AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
HALVES = (0.5, 0.5, 0.5)  # both came from TensorFlow, trained on [-1, 1]


def build(info: ModelInfo) -> Classifier:
    """The network of that name, with the last layer for its classes and the first for its channels."""
    auxiliary = AUXILIARY.get(info.name, ())
    # Without a word torchvision warns that the initialisation of these two will change.
    options: dict[str, Any] = {"aux_logits": True, "init_weights": True} if auxiliary else {}
    net = torchvision.models.get_model(info.name, weights=None, num_classes=len(info.classes), **options)
    widen_first_convolution(net, info.channels)
    head = [name for name, part in net.named_modules() if isinstance(part, nn.Linear)][-1]
    mean, std = (HALVES, HALVES) if auxiliary else (IMAGENET_MEAN, IMAGENET_STD)
    return Classifier(info, net, head, auxiliary=auxiliary, mean=mean, std=std)
