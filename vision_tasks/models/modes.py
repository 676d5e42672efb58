"""Training flags of single modules, set for a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
