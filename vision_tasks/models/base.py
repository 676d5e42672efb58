"""The contract that every network of every task keeps, whatever library it comes from.

- Images go in as RGB in [0, 1], float32 [B,3,H,W] (or with `info.channels` bands instead of three); H and W are
  multiples of `info.size_multiple`. Normalisation, class offsets, box formats, losses and non-maximum suppression live
  inside the adapter and nowhere else.
- `forward(images, targets)` returns named scalar losses in float32; their sum is minimised.
- `predict(images)` returns the same type as the targets, in canvas pixels, float32, for a batch of any size; it changes
  neither the training mode nor any random state, and a batch gives what its single images give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from torch import Tensor, nn

from vision_tasks.errors import UserError
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
    channels: int = 3  # of its images
    exclusive: bool = True  # False: an image may have several of the classes at once, or none
    class_ids: tuple[int, ...] = ()  # what its data's files call the classes; empty = 0, 1, 2, ...
    norm: str = "batch"  # what normalises: batch, as the family has it, or group


class TaskModel(nn.Module, ABC, Generic[T]):
    """A network with its preprocessing, losses and post-processing."""

    info: ModelInfo
    background = 0  # outputs before those of the first class, that stand for none

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

    @property
    def class_layers(self) -> Mapping[str, int]:
        """Dotted names of the layers whose outputs belong to classes -> how many each class has side by side.

        Their outputs are laid out as [anchors, `background` + K, as many]. Empty: the family doesn't tell.
        """
        return {}

    def from_published(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A weight card's tensors, by their names in the network, as this network has them for its classes."""
        return tensors

    def learn_by(self, losses: Sequence[str], label_smoothing: float = 0.0, class_weight: Tensor | None = None) -> None:
        """Minimise these losses from now on instead of the model's own; empty = its own. `class_weight` is [K].

        Raises UserError for an unknown loss, and where a family's losses can't be chosen.
        """
        if losses or label_smoothing or class_weight is not None:
            raise UserError(f"{self.info.name} has losses of its own; leave out loss, label_smoothing, class_weights")

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees of images [B,C,H,W], in evaluation mode and without gradients: float32 [B,D]."""
        raise UserError(f"{self.info.name} has no single last layer that could be fitted alone; leave out --probe")

    def fit_head(self, features: Tensor, targets: T) -> None:
        """Fit the last layer alone, on the CPU, to the `features` [N,D] of N images and their targets."""
        raise UserError(f"{self.info.name} has no single last layer that could be fitted alone; leave out --probe")

    def require_canvas(self, side: int) -> None:
        """A canvas that the network cannot divide is the user's error."""
        multiple = self.info.size_multiple
        if side % multiple:
            near = max(multiple, round(side / multiple) * multiple)
            raise UserError(f"--image-size {side}: {self.info.name} needs a multiple of {multiple}; try {near}")

    def anneal(self, done: float) -> None:
        """Learn before an epoch how far it lies between the first (0) and the last (1); few losses depend on it."""
