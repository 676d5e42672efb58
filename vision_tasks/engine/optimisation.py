"""What is optimised and by what: optimisers, parts that are held still, the running mean of weights, class weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vision_tasks.config import TrainConfig
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.progress import progress
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


def keep_statistics(model: nn.Module, gathered: nn.Module | None) -> None:
    """From now on `model` normalises batches by statistics that stay: those that `gathered` has, or its own."""
    for name, part in model.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
            if gathered is not None:
                part.load_state_dict(dict(gathered.get_submodule(name).named_buffers()), strict=False)


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


def class_counts(samples: Sequence[Sample[Any]], num_classes: int) -> Tensor:
    """How much of each class every sample holds, float32 [N,K]; reads all truth, which for masks means decoding them.

    What can't be read counts as empty: it is told, or ends the training, when its turn comes.
    """
    counts = torch.zeros(len(samples), num_classes)
    with progress("counting classes", len(samples)) as bar:
        for row, sample in zip(counts, samples, strict=True):
            with suppress(UserError, DecodeError):
                row.copy_(sample.truth(None).counts(num_classes))
            bar.advance(1)
    return counts


def balanced_weights(samples: Sequence[Sample[Any]], num_classes: int) -> Tensor:
    """A weight for each class [K], inversely proportional to how often it occurs; 1 on average over what occurs.

    scikit-learn's "balanced": total / (K * count), K being the classes that occur. One that never does weighs 0: it
    has no say in means over classes.
    """
    counts = class_counts(samples, num_classes).sum(dim=0)
    weight = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weight, 0.0)


class WeightMean:
    """The running mean of a model's weights and statistics, exponential after a start in which it is wider.

    Statistics of normalisation belong to the weights that made them, so they are averaged alike; what counts (whole
    numbers) is taken as it is.
    """

    def __init__(self, model: TaskModel[Any], decay: float) -> None:
        self.model: TaskModel[Any] = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: TaskModel[Any], step: int) -> None:
        """Move towards `model` after `step` (from 0).

        Until `decay` is reached, the mean looks back over a ninth of the steps, however many they are: the polynomial
        decay of Shamir and Zhang (ICML 2013, eta = 8), whose rate is optimal without knowing the training's length.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for kept, new in zip(_state(self.model), _state(model), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


def _state(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
