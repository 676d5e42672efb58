"""Grad-CAM: where on an image the evidence for one of its predictions lies.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
equations 1 and 2; for masks as in Vinogradova et al., Towards Interpretable Semantic Segmentation via
Gradient-weighted Class Activation Mapping, AAAI 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.explanations.layers import Layer, watched
from vision_tasks.explanations.subject import Subject, Wish, subject_of
from vision_tasks.models.base import TaskModel
from vision_tasks.models.evidence import evidence


def class_activation(maps: Tensor, score: Tensor) -> Tensor | None:
    """Equation 2 for the maps [1,C,h,w] of one image, float32 [h,w]; None if `score` doesn't depend on them."""
    gradient: Tensor | None = torch.autograd.grad(score, maps, allow_unused=True)[0]
    if gradient is None:
        return None
    weight = gradient.mean(dim=(2, 3), keepdim=True)
    return (weight * maps).sum(dim=1)[0].relu().detach()


def explained(model: TaskModel[Any], layer: Layer, image: Tensor, wish: Wish) -> tuple[Subject, Tensor] | None:
    """What is explained of `image` [1,C,H,W], and its activation on the canvas in [0, 1], float32 [H,W].

    The greatest is 1, unless all are 0, where nothing in `layer` speaks for it. None: nothing was found of what
    is wished. Raises UserError for a layer on which the score doesn't depend.
    """
    # The network may be frozen; the image is not.
    with watched(model, layer) as maps:
        found = evidence(model, image.clone().requires_grad_())
    subject = subject_of(found, wish, model.info)
    if subject is None:
        return None
    activation = class_activation(maps[-1], subject.score)
    if activation is None:
        raise UserError(f"--layer {layer.name}: what is predicted doesn't depend on it; take one before")
    enlarged = F.interpolate(activation[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return subject, enlarged / enlarged.max().clamp(min=torch.finfo(enlarged.dtype).tiny)
