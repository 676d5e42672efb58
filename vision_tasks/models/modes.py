"""Modes set for a moment: training flags of single modules, and no lower precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def mode(modules: Iterable[nn.Module], training: bool) -> Iterator[None]:
    """Set the flag of exactly these modules and give each its own back: a model may be partly frozen in eval mode."""
    before = [(module, module.training) for module in modules]
    try:
        for module, _ in before:
            module.training = training
        yield
    finally:
        for module, flag in before:
            module.training = flag


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Inside, precision stays what it is, whatever runs around it; tensors without data (meta) know no other."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
