"""The contract that every network of every task keeps, whatever library it comes from.

- Images go in as RGB in [0, 1], float32 [B,3,H,W]; H and W are multiples of `info.size_multiple`. Normalisation, class
  offsets, box formats, losses and non-maximum suppression live inside the adapter and nowhere else.
- `forward(images, targets)` returns named scalar losses in float32; their sum is minimised.
- `predict(images)` returns the same type as the targets, in canvas pixels, float32, for a batch of any size; it changes
  neither the training mode nor any random state, and a batch gives what its single images give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic

from torch import Tensor, nn

from vision_tasks.types import T


@dataclass(frozen=True)
class ModelInfo:
    """What a user should know of a model before using it."""

    name: str
    family: str
    classes: tuple[str, ...]
    size_multiple: int  # canvas sides must be multiples of it
    code_licence: str  # SPDX
    weights_licence: str = ""  # SPDX of the weights it started from; empty = trained from scratch


class TaskModel(nn.Module, ABC, Generic[T]):
    """A network with its preprocessing, losses and post-processing."""

    info: ModelInfo

    @abstractmethod
    def forward(self, images: Tensor, targets: T) -> dict[str, Tensor]:
        """Named scalar losses of a batch, in training mode; finite also for empty targets."""

    @abstractmethod
    def predict(self, images: Tensor) -> T:
        """Predictions in canvas pixels."""

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The feature extractor: what a checkpoint of another task can start and `--freeze backbone` holds still."""

    def anneal(self, done: float) -> None:
        """Learn before an epoch what share of the training is done, in [0, 1]; most losses do not depend on it."""
