"""Batch normalisation folded into the convolutions before it: the same function, one pass over the memory less."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vision_tasks.device import full_float32
from vision_tasks.models.exportable import Exportable

ROUNDING = 1e-3


@torch.no_grad()
def folded(model: Exportable[Any], images: Tensor) -> Exportable[Any]:
    """A copy for prediction alone, equal to rounding.

    Which layers follow one another is seen on `images`, where the outcome is compared, too: nothing is folded in a
    network some of whose convolutions are looked at by more than their norms.
    """
    twin = _merged(copy.deepcopy(model).eval(), lambda network: network.outputs(images))
    with full_float32():
        pairs = list(zip(model.outputs(images), twin.outputs(images), strict=True))
    return twin if _same(pairs) else copy.deepcopy(model).eval()


@torch.no_grad()
def folded_part(part: nn.Module, maps: Tensor) -> nn.Module:
    """The same of a part that takes `maps` [B,C,H,W] and gives maps by their names."""
    twin = _merged(copy.deepcopy(part).eval(), lambda network: network(maps))
    with full_float32():
        found, expected = twin(maps), part(maps)
    return twin if _same((expected[name], found[name]) for name in expected) else copy.deepcopy(part).eval()


M = TypeVar("M", bound=nn.Module)


def _merged(twin: M, run: Callable[[M], Any]) -> M:
    """`twin` itself, changed; `run` has it called once."""
    for convolution, norm in _pairs(twin, partial(run, twin)):
        before, after = cast(nn.Conv2d, twin.get_submodule(convolution)), cast(nn.BatchNorm2d, twin.get_submodule(norm))
        merged = fuse_conv_bn_eval(before, after)
        twin.set_submodule(convolution, merged)
        twin.set_submodule(norm, nn.Identity())
    return twin


def _same(pairs: Iterable[tuple[Tensor, Tensor]]) -> bool:
    return all(torch.allclose(two, one, rtol=ROUNDING, atol=ROUNDING) for one, two in pairs)


def _pairs(model: nn.Module, run: Callable[[], Any]) -> list[tuple[str, str]]:
    """Names of convolutions and of the norms that directly take their outputs, each used once."""
    made: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    used: Counter[str] = Counter()
    alive: list[Tensor] = []  # so that no other tensor gets the place, and with it the id, of one that is gone

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            used[name] += 1
            if isinstance(module, nn.Conv2d):
                alive.append(output)
                made[id(output)] = name
            elif id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])], name))

        return hook

    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    handles = [part.register_forward_hook(note(name)) for name, part in layers]
    run()
    for handle in handles:
        handle.remove()
    takers = Counter(convolution for convolution, _ in pairs)
    return [(one, two) for one, two in pairs if used[one] == used[two] == takers[one] == 1]
