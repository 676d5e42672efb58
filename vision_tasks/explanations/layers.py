"""The layers of a network that give maps [B,C,h,w], by the names that `models show` prints, and these maps.

A layer that runs several times, as an activation that a block shares with itself, stands for the last of its runs. One
that many blocks share, as YOLO's activation, stands for none of them, and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import TaskModel


@dataclass(frozen=True)
class Layer:
    """A layer that gives maps."""

    name: str  # dotted, in the model; blocks have names, too
    channels: int
    size: tuple[int, int]  # height and width of its maps for the image that was looked at
    runs: int  # in one pass
    in_backbone: bool


_PADDED = 2  # rows or columns of a map, by which a layer may change its proportions


class _Reached(Exception):  # noqa: N818  # no error, but the way out of a network's middle
    """A layer has run: nothing behind it is wanted."""


def layers_of(model: TaskModel[Any], images: Tensor) -> dict[str, Layer]:
    """All layers with maps, in the order in which they end their last run on `images` [1,C,H,W], on their device.

    Before the first convolution there are none: what is there is the image. Raises UserError if there are none at all.
    """
    below = {id(part) for part in model.backbone.modules()}
    found: dict[str, Layer] = {}
    seen = [False]

    def note(name: str, part: nn.Module, inputs: Any, output: Any) -> None:
        seen[0] |= isinstance(part, nn.Conv2d)
        if seen[0] and _is_map(output, images):
            runs = found.pop(name).runs + 1 if name in found else 1
            found[name] = Layer(name, output.shape[1], tuple(output.shape[2:]), runs, id(part) in below)

    with _hooked([(part, partial(note, name)) for name, part in _parts(model)]):
        model.predict(images)
    if not found:
        raise UserError(f"{model.info.name} has no convolutions, and so no maps that could be shown")
    return found


def chosen_layer(layers: dict[str, Layer], name: str | None) -> Layer:
    """The layer called `name`; of None the last block of the backbone, which sees most and still knows where.

    Raises UserError for a name that is none of a layer with maps.
    """
    if name is not None:
        if name not in layers:
            raise unknown_name("layer with maps", name, layers)
        return layers[name]
    wide = [layer for layer in layers.values() if layer.size[0] * layer.size[1] > 1]
    return [layer for layer in wide if layer.in_backbone][-1]


@contextmanager
def watched(model: TaskModel[Any], layer: Layer) -> Iterator[list[Tensor]]:
    """Within it, each pass of `model` adds the maps [B,C,h,w] of `layer` to the list, with their gradients."""
    kept: list[Tensor] = []
    with _hooked([(model.get_submodule(layer.name), _keeping(kept, layer.runs, stop=False))]):
        yield kept


@torch.no_grad()
def maps_of(model: TaskModel[Any], layer: Layer, images: Tensor) -> Tensor:
    """The maps [B,C,h,w] of `layer` for images [B,C,H,W]; what comes after it is not computed."""
    kept: list[Tensor] = []
    with _hooked([(model.get_submodule(layer.name), _keeping(kept, layer.runs, stop=True))]), suppress(_Reached):
        model.predict(images)
    return kept[0]


def _keeping(kept: list[Tensor], runs: int, stop: bool) -> Callable[..., Tensor]:
    count = [0]

    def keep(part: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        count[0] += 1
        if count[0] % runs:
            return output
        kept.append(output)
        if stop:
            raise _Reached
        return output.clone()  # what follows may change it in place

    return keep


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All modules with one name."""
    named = list(model.named_modules(remove_duplicate=False))
    names = Counter(id(part) for _, part in named)
    return [(name, part) for name, part in named if name and names[id(part)] == 1]


def _is_map(output: Any, images: Tensor) -> bool:
    """Whether an output is laid out as [B,C,h,w]: it has the images' proportions, give or take what padding does."""
    if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != len(images):
        return False
    height, width = images.shape[-2:]
    return abs(output.shape[2] - output.shape[3] * height / width) <= _PADDED


@contextmanager
def _hooked(hooks: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    handles = [part.register_forward_hook(hook) for part, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
