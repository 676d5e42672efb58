"""What a network consists of: its layers in the order in which they run, their outputs, parameters and operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vision_tasks.models.base import TaskModel


@dataclass(frozen=True)
class Layer:
    """A module without parts of its own."""

    name: str  # dotted, in the model
    type: str
    output: tuple[int, ...]  # shape of its first output, with B = 1; empty if it gives no tensor
    parameters: int
    multiply_adds: int  # of all its runs


@dataclass(frozen=True)
class Summary:
    """A model and its totals for one image.

    Multiply-adds are those of convolutions and matrix products. Totals may exceed the sum of the layers, by what
    larger modules hold or compute themselves: class tokens, products of queries and keys.
    """

    model: str
    input: tuple[int, ...]  # [1,C,H,W]
    layers: tuple[Layer, ...]
    parameters: int  # shared ones counted once
    multiply_adds: int


def summarise(model: TaskModel[Any], image_size: int) -> Summary:
    """Run `predict` on one blank square image, on the model's device (`meta` is the fastest, if the model can)."""
    images = torch.zeros(1, model.info.channels, image_size, image_size, device=next(model.parameters()).device)
    # As fused kernels, attention would not be counted on every device.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), _watched(model, counter) as layers:
        model.predict(images)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Summary(
        model.info.name, tuple(images.shape), tuple(layers.values()), parameters, counter.get_total_flops() // 2
    )


def table(summary: Summary) -> str:
    """The layers as lines of text with aligned columns, the totals below."""
    head = ("layer", "type", "output", "parameters", "multiply-adds")
    rows = [
        (layer.name, layer.type, _shape(layer.output), f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
        for layer in summary.layers
    ]
    total = ("total", "", _shape(summary.input), f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    widths = [max(map(len, column)) for column in zip(head, *rows, total, strict=True)]
    return "\n".join(_line(row, widths) for row in (head, *rows, total))


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
    return "  ".join(words + numbers).rstrip()


def _shape(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes[1:]))


@contextmanager
def _watched(model: nn.Module, counter: FlopCounterMode) -> Iterator[dict[str, Layer]]:
    """The leaf modules that run, in order, with what `counter` counts in each."""
    layers: dict[str, Layer] = {}
    watch = _Watch(layers, counter)
    handles = []
    for name, part in model.named_modules():
        if not any(part.children()):
            handles += [
                part.register_forward_pre_hook(watch.begin),
                part.register_forward_hook(partial(watch.end, name)),
            ]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Watch:
    layers: dict[str, Layer]
    counter: FlopCounterMode
    before: int = 0

    def begin(self, part: nn.Module, inputs: Any) -> None:
        self.before = self.counter.get_total_flops()

    def end(self, name: str, part: nn.Module, inputs: Any, output: Any) -> None:
        done = (self.counter.get_total_flops() - self.before) // 2
        if name in self.layers:  # it runs again, as a shared activation or the head of a pyramid does
            first = self.layers[name]
            done += first.multiply_adds
            self.layers[name] = Layer(name, first.type, first.output, first.parameters, done)
            return
        parameters = sum(parameter.numel() for parameter in part.parameters())
        self.layers[name] = Layer(name, type(part).__name__, _first_shape(output), parameters, done)


def _first_shape(output: Any) -> tuple[int, ...]:
    while isinstance(output, list | tuple | dict) and output:
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return tuple(output.shape) if isinstance(output, Tensor) else ()
