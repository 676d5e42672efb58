"""Pretrained weights of timm's models, by the model's name: fetched, checked and cached by timm's own means."""

from __future__ import annotations

import timm
from torch import Tensor

from vision_tasks.errors import UserError
from vision_tasks.models.registry import TIMM


def has_weights(name: str) -> bool:
    """Whether timm publishes weights for `timm/NAME`."""
    settings = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    return settings is not None and settings.has_weights


def pretrained(name: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of `timm/NAME` under its network's names, and the licence that timm states for them.

    Raises UserError for models without any, and where they can't be had, which says how to use a file that was fetched
    elsewhere.
    """
    wanted = name.removeprefix(TIMM)
    settings = timm.get_pretrained_cfg(wanted)
    if settings is None or not has_weights(name):
        raise UserError(f"timm has no pretrained weights for '{name}'; leave out --weights or name a file")
    try:
        net = timm.create_model(wanted, pretrained=True)
    except OSError as problem:
        place = f"https://huggingface.co/{settings.hf_hub_id}" if settings.hf_hub_id else settings.url
        raise UserError(
            f"the weights of '{name}' can't be fetched ({type(problem).__name__}); "
            f"get model.safetensors from {place} yourself and give it as --weights FILE"
        ) from None
    return net.state_dict(), settings.license or "unknown"
