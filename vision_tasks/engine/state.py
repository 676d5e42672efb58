"""What a training needs to go on exactly where it was: `last.state`, tensors and JSON in one safetensors file.

Weights, optimiser and position are in one file on purpose: it is replaced in one step, so whenever the process dies
there is one consistent state on disk. Luck is keyed by (epoch, step), so no random state needs to be stored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from vision_tasks.engine.optimisation import WeightMean
from vision_tasks.errors import UserError
from vision_tasks.files import write_tensors


@dataclass
class Position:
    """Where a training stands: the next step to take, and what has been counted so far."""

    epoch: int = 0
    step: int = 0  # within the epoch
    best: float = float("-inf")
    stale: int = 0  # validations since the best
    images: int = 0  # trained on in this epoch
    seconds: float = 0.0  # spent training in this epoch
    waited: float = 0.0  # of these, waiting for data
    losses: dict[str, float] = field(default_factory=dict)  # sums over this epoch's images
    shown: list[float] = field(default_factory=list)  # how much of each class they showed
    weights_licence: str = ""  # of what the training started from

    def next_epoch(self) -> Position:
        """Where the next epoch begins, with nothing counted yet."""
        return Position(self.epoch + 1, best=self.best, stale=self.stale, weights_licence=self.weights_licence)


def save_state(path: Path, position: Position, model: nn.Module, optimiser: Optimizer, mean: WeightMean | None) -> None:
    """Replace `path` in one step."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if mean is not None:
        tensors |= {f"mean.{name}": tensor for name, tensor in mean.model.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    write_tensors(path, tensors, {"position": json.dumps(asdict(position))})


def load_state(path: Path, model: nn.Module, optimiser: Optimizer, mean: WeightMean | None) -> Position:
    """Restore all of them in place and return the position. Raises UserError if the file does not fit."""
    try:
        with safe_open(path, framework="pt") as file:
            position = Position(**json.loads(file.metadata()["position"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise UserError(f"cannot resume from {path}: {error}") from error
    try:
        model.load_state_dict(_part(tensors, "model."))
        if mean is not None:
            mean.model.load_state_dict(_part(tensors, "mean."))
        _load_optimiser(optimiser, _part(tensors, "optimiser."))
    except (RuntimeError, IndexError) as error:
        raise UserError(f"{path} does not fit this run's configuration: {error}") from error
    return position


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        # In the parameter's own memory format, or every later step would be slower.
        like = tensor.shape == parameter.shape and tensor.ndim > 0
        state.setdefault(int(index), {})[key] = torch.empty_like(parameter).copy_(tensor) if like else tensor
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
