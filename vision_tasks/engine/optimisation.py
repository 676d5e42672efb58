"""What is optimised and by what: optimisers, parts that are held still, the running mean of weights, class weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vision_tasks.config import TrainConfig
from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.types import Sample


def held_at(config: TrainConfig, epoch: int) -> str | int:
    """What is held still in an epoch: `none`, `backbone`, or a number of the backbone's first parts."""
    return "backbone" if epoch < config.freeze_epochs else config.freeze


class Holder:
    """Holds parts of a model still, parameters and normalisation statistics, and lets them go again."""

    def __init__(self, model: TaskModel[Any]) -> None:
        self._model = model
        # Some networks have parameters that never learn; letting go must not wake them.
        self._learning = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def hold(self, what: str | int) -> None:
        """Set the whole model's parts to learn, and to training mode, except `what`. Raises UserError."""
        for parameter in self._learning:
            parameter.requires_grad_(True)
        self._model.train()
        for part in _parts(self._model, what):
            part.requires_grad_(False).eval()


def _parts(model: TaskModel[Any], what: str | int) -> list[nn.Module]:
    if what == "none":
        return []
    if what == "backbone":
        return [model.backbone]
    learning = [part for part in model.backbone.children() if any(True for _ in part.parameters())]
    if int(what) > len(learning):
        raise UserError(f"--freeze {what}: the backbone of {model.info.name} has {len(learning)} parts")
    return learning[: int(what)]


def make_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """SGD with Nesterov momentum, Adam or AdamW; biases and normalisation parameters are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over the parameters instead of a dozen; a fifth of a small U-Net's step on a CPU.
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def start_momentum(optimiser: Optimizer) -> None:
    """Give SGD the momentum it starts from, zero, before a first step: parameters may join later.

    Fused steps want the momentum of every parameter or of none. To be called once the model is on its device.
    """
    if isinstance(optimiser, torch.optim.SGD):
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def balanced_weights(samples: Sequence[Sample[Any]], num_classes: int) -> Tensor:
    """A weight for each class [K], inversely proportional to how often it occurs; 1 on average over what occurs.

    scikit-learn's "balanced": total / (K * count). A class that never occurs has no influence; it weighs 1.
    """
    counts = sum((sample.truth(None).counts(num_classes) for sample in samples), torch.zeros(num_classes))
    weight = counts.sum() / (num_classes * counts.clamp(min=1))
    return torch.where(counts > 0, weight, 1.0)


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
