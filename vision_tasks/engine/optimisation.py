"""Optimiser, learning rate and running mean of weights; the rate is a function of the step, so it has no state."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vision_tasks.config import TrainConfig
from vision_tasks.models.base import TaskModel

_FINAL_SHARE = 0.01  # of the peak learning rate that is left at the end


def freeze(model: TaskModel[Any], what: str) -> None:
    """Hold the backbone's parameters still (`backbone`) or nothing (`none`)."""
    if what == "backbone":
        model.backbone.requires_grad_(False)


def training_mode(model: TaskModel[Any], what_is_frozen: str) -> None:
    """Training mode, except that a frozen backbone keeps its normalisation statistics too."""
    model.train()
    if what_is_frozen == "backbone":
        model.backbone.eval()


def make_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """SGD with Nesterov momentum or AdamW; biases and normalisation parameters are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over the parameters instead of a dozen; a fifth of a small U-Net's step on a CPU.
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth (Loshchilov and Hutter, SGDR, 2017)."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    total = max(1.0, config.epochs * steps_per_epoch - warmup)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / total)))
    return config.lr * (_FINAL_SHARE + (1 - _FINAL_SHARE) * share)


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


class WeightMean:
    """The exponential running mean of a model's weights; buffers are taken as they are."""

    def __init__(self, model: TaskModel[Any], decay: float) -> None:
        self.model: TaskModel[Any] = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: TaskModel[Any], step: int) -> None:
        """Move towards `model` after `step` (from 0); the first steps count more, or the start would linger."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for kept, parameter in zip(self.model.parameters(), model.parameters(), strict=True):
            kept.data.lerp_(parameter.data, 1 - decay)
        for statistic, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            statistic.copy_(buffer)
