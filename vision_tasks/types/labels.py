"""Targets of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vision_tasks.types.targets import Annotations, Region, Size
from vision_tasks.types.tensors import move, renumber


@dataclass(frozen=True)
class Labels:
    """Classes of whole images."""

    weight: Tensor  # float32 [B,K]: one-hot, several-hot, soft after mixing; probabilities when predicted

    @classmethod
    def one_hot(cls, label: int, num_classes: int) -> Labels:
        weight = torch.zeros(1, num_classes)
        weight[0, label] = 1
        return cls(weight)

    def warp(self, matrix: Tensor, size: Size) -> Labels:
        return self

    def paste(self, other: Labels, region: Tensor) -> Labels:
        """Weights by area. A blank canvas has none, so what is pasted beside others onto it adds to them."""
        share = region.to(self.weight).mean(dim=(1, 2))
        covered = self.weight.sum(dim=1).clamp(max=1)
        left = torch.minimum(covered, 1 - share) / covered.clamp(min=1e-9)
        return Labels(self.weight * left[:, None] + other.weight * share[:, None])

    def blend(self, other: Labels, amount: Tensor) -> Labels:
        return Labels(torch.lerp(self.weight, other.weight, amount.to(self.weight)[:, None]))

    def erase(self, region: Tensor) -> Labels:
        """The same: a picture of a cat without its tail is a picture of a cat."""
        return self

    def blank(self, size: Size) -> Labels:
        return Labels(torch.zeros_like(self.weight))

    def regions(self) -> list[Region]:
        return []

    def annotations(self) -> Annotations:
        return Annotations()

    def annotated(self, changed: Annotations) -> Labels:
        return self

    def counts(self, num_classes: int) -> Tensor:
        return self.weight.sum(dim=0)

    def renumbered(self, numbers: Sequence[int]) -> Labels:
        return Labels(renumber(self.weight, numbers))

    def image(self, index: int) -> Labels:
        return Labels(self.weight[index : index + 1])

    def to(self, device: torch.device | str) -> Labels:
        return Labels(move(self.weight, device))

    @classmethod
    def stack(cls, items: Sequence[Labels]) -> Labels:
        return cls(torch.cat([item.weight for item in items]))

    def __len__(self) -> int:
        return len(self.weight)
