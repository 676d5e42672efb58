"""Detectors that choose regions in the middle of their network: their backbone may be computed elsewhere, or folded.

The backbone, which takes images and gives maps by their names, is all of a network that has no choices in it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.roi_pooling import RegionPool
from vision_tasks.models.runtime import Run
from vision_tasks.types import Size

_GRID = 32  # pixels: torchvision's detectors enlarge canvases to multiples of it
_ROUNDING = 1e-2  # relative to the largest value of a map


class BackboneElsewhere(nn.Module):
    """Maps that `start` of a canvas computes; each canvas is started once."""

    def __init__(self, names: tuple[str, ...], start: Callable[[Size], Run]) -> None:
        super().__init__()
        self.names = names
        self.started = cache(start)  # what computes the maps of a canvas; raises UserError where nothing can

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        run = self.started((images.shape[-2], images.shape[-1]))
        return OrderedDict(zip(self.names, run(images), strict=True))


class MapsInOrder(nn.Module):
    """A backbone as exporters want it: it gives tensors without names."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images).values())


def backbone_of(model: TaskModel[Any]) -> nn.Module | None:
    """The backbone of a detector that can't be exported as a whole; None of other models."""
    if isinstance(model, Exportable):
        return None
    found = getattr(getattr(model, "net", None), "backbone", None)
    return found if isinstance(found, nn.Module) else None


def with_backbone(model: TaskModel[Any], backbone: nn.Module) -> TaskModel[Any]:
    """A copy of `model` with another backbone, and regions that are pooled faster, for prediction alone."""
    twin = copy.deepcopy(model)
    net: Any = twin.get_submodule("net")
    net.backbone = backbone
    for part in twin.modules():
        if isinstance(part, RegionPool):
            part.exact = False
    return twin.eval()


def seen_by_backbone(images: Tensor) -> Tensor:
    """Images [B,C,h,w] on the canvas [B,C,H,W] on which a backbone gets them."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % _GRID, 0, -height % _GRID))


@torch.no_grad()
def require_same_maps(backbone: nn.Module, run: Run, images: Tensor, name: str) -> None:
    """Raises UserError where the maps of `run` differ from those of `backbone` by more than rounding."""
    for one, two in zip(MapsInOrder(backbone)(images), run(images), strict=True):
        if float((one - two).abs().max()) > _ROUNDING * float(one.abs().max()):
            raise UserError(f"{name} computes other maps than the network does; use --engine torch")
