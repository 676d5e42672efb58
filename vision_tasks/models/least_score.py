"""Boxes that nobody will be told of, left out before they are compared with one another."""

from __future__ import annotations

from typing import Any

from torch import nn

from vision_tasks.models.base import TaskModel
from vision_tasks.models.exportable import Exportable

_ROUNDING = 1e-6


def leave_out_below(model: TaskModel[Any], score: float) -> None:
    """Let `model` predict no boxes that are below `score` by more than rounding; the others stay as they are.

    For suppression goes from the highest score to the lowest. What predicts no boxes is left alone.
    """
    least = score - _ROUNDING
    if isinstance(model, Exportable):
        model.least_score = least
    elif (holder := _holder(model)) is not None:
        holder.score_thresh = max(holder.score_thresh, least)


def _holder(model: nn.Module) -> Any:
    """The part of one of torchvision's detectors that knows the threshold."""
    net = getattr(model, "net", None)
    parts = (getattr(net, "roi_heads", None), net)
    return next((part for part in parts if hasattr(part, "score_thresh")), None)
