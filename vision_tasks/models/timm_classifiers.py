"""Whole-image classifiers of timm (Apache-2.0), by the name `timm/NAME`, untrained.

Statistics and the usual image size come from the settings that timm keeps for a model's pretrained weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
from torch import Tensor, nn

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.registry import TIMM


def build(info: ModelInfo) -> Classifier:
    """The network behind `timm/NAME`; a transformer takes any multiple of its patches if timm can build it so.

    Raises UserError for names that timm doesn't know, and for its encoders that classify nothing.
    """
    name = _known(info.name)
    net, any_size = _create(name, num_classes=len(info.classes), in_chans=info.channels)
    settings = net.pretrained_cfg
    if not hasattr(net, "get_classifier"):
        raise UserError(f"model '{info.name}' gives features only, it has no classifier")
    if any_size:
        info = replace(info, size_multiple=_patch(net))
    elif settings["fixed_input_size"]:
        net.register_forward_pre_hook(partial(_check_size, info.name, settings["input_size"][-2:]))
    # Several last layers, whose logits are averaged, are none that could be fitted alone.
    heads = settings["classifier"]
    head, others = (heads, ()) if isinstance(heads, str) else (None, heads)
    return Classifier(info, net, head, auxiliary=others, mean=settings["mean"], std=settings["std"])


def recipe(name: str) -> Mapping[str, Any]:
    """Settings that suit `timm/NAME`: the canvas of its pretrained weights. Raises UserError for unknown names."""
    settings = timm.get_pretrained_cfg(_known(name))
    return {"image_size": settings.input_size[-1]} if settings else {}


def _known(name: str) -> str:
    """The name behind the prefix: an architecture's, or `architecture.tag` of its pretrained weights."""
    wanted = name.removeprefix(TIMM)
    architecture, dot, _ = wanted.partition(".")
    known = timm.list_models(f"{architecture}.*", pretrained=True) if dot else timm.list_models()
    if wanted in known:
        return wanted
    if get_close_matches(wanted, known, cutoff=0.5):
        raise unknown_name("timm model", wanted, known)
    raise UserError(f"unknown timm model '{wanted}'; `timm.list_models()` has the {len(timm.list_models())} known ones")


def _create(name: str, **options: Any) -> tuple[Any, bool]:
    """The network, and whether its canvas may be of any size: not every family has that option."""
    try:
        return timm.create_model(name, pretrained=False, dynamic_img_size=True, **options), True
    except TypeError:
        return timm.create_model(name, pretrained=False, **options), False


def _patch(net: Any) -> int:
    """Side of a transformer's patches in pixels."""
    size = net.patch_embed.patch_size
    return int(size if isinstance(size, int) else max(size))


def _check_size(name: str, size: tuple[int, int], net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    height, width = inputs[0].shape[-2:]
    if (height, width) != tuple(size):
        raise UserError(
            f"{name} takes images of {size[1]}x{size[0]} only, not {width}x{height}; --image-size {size[0]}"
        )
