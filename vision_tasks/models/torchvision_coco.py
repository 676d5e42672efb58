"""Tensors of torchvision's detectors as published, turned into those of a network that knows the named classes only.

COCO's categories are numbered from 1 to 90, and ten of the numbers mean nothing. torchvision's files have an output for
each number, and one for 0: background where scores are a softmax, nothing where they are sigmoids. Here the outputs
without a meaning are cut out. A sigmoid doesn't notice; of a softmax the others get what little those had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]

# Trained when the frozen normalisation had no epsilon; torchvision sets it to 0 where it loads these two.
WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
_OLD_CONVOLUTION = re.compile(r"(head\.\w+\.conv)\.(\d)\.(weight|bias)")  # beside its ReLU, before they were one block
_VARIANCE = ".running_var"


def renamed(tensors: State, own: State) -> dict[str, Tensor]:
    """RetinaNet's first file names the convolutions of its heads 0, 2, 4, 6; the network names them 0.0 to 3.0."""

    def name_now(name: str) -> str:
        old = _OLD_CONVOLUTION.fullmatch(name)
        return f"{old[1]}.{int(old[2]) // 2}.0.{old[3]}" if old and name not in own else name

    return {name_now(name): tensor for name, tensor in tensors.items()}


def only_outputs(tensors: State, own: State, numbers: Sequence[int]) -> dict[str, Tensor]:
    """Tensors with an output per number, from 0 to the last one, cut to `numbers` where the network has fewer."""

    def cut(name: str, tensor: Tensor) -> Tensor:
        if name not in own or own[name].shape == tensor.shape:
            return tensor
        each = 4 if "bbox_pred" in name else 1  # corners of a class' box lie side by side, anchors' classes too
        outputs = tensor.reshape(-1, numbers[-1] + 1, each, *tensor.shape[1:])
        return outputs[:, list(numbers)].flatten(0, 2)

    return {name: cut(name, tensor) for name, tensor in tensors.items()}


def with_epsilon(tensors: State, epsilon: float) -> dict[str, Tensor]:
    """The same function of an input where `epsilon` is added to the variances: the factors grow by what it takes."""
    result = dict(tensors)
    for name in tensors:
        if name.endswith(_VARIANCE):
            factor, variance = name.removesuffix(_VARIANCE) + ".weight", tensors[name].double()
            growth = torch.sqrt((variance + epsilon) / variance)
            result[factor] = (tensors[factor].double() * growth).to(tensors[factor].dtype)
    return result
