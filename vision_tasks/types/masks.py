"""Targets that name a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vision_tasks.sampling import sample_bilinear, sample_nearest
from vision_tasks.types.targets import Annotations, Region, Size
from vision_tasks.types.tensors import likeliest, move, renumber

IGNORE = 255  # the class index of pixels that neither losses nor metrics count


@dataclass(frozen=True)
class Masks:
    """A class for every pixel."""

    index: Tensor  # uint8 [B,H,W], IGNORE = 255; losses widen it
    num_classes: int
    probability: Tensor | None = None  # float32 [B,K,H,W]: what predictions carry, and what blend makes of truth

    def warp(self, matrix: Tensor, size: Size) -> Masks:
        """Indices by nearest pixel, probabilities bilinearly; what comes from outside the image is IGNORE."""
        if self.probability is None:
            return replace(self, index=sample_nearest(self.index, matrix, size, fill=IGNORE))
        ignored = sample_nearest(self.index, matrix, size, fill=IGNORE) == IGNORE
        return self._dense(sample_bilinear(self.probability, matrix, size), ignored)

    def paste(self, other: Masks, region: Tensor) -> Masks:
        index = torch.where(region, other.index, self.index)
        if self.probability is None and other.probability is None:
            return replace(self, index=index)
        return replace(self, index=index, probability=torch.where(region[:, None], other.dense(), self.dense()))

    def blend(self, other: Masks, amount: Tensor) -> Masks:
        """Probabilities of both; a pixel that one of them ignores is ignored."""
        probability = torch.lerp(self.dense(), other.dense(), amount.to(torch.float32)[:, None, None, None])
        return self._dense(probability, (self.index == IGNORE) | (other.index == IGNORE))

    def _dense(self, probability: Tensor, ignored: Tensor) -> Masks:
        """Masks of a new tensor `probability` [B,K,H,W], where not `ignored` bool [B,H,W]."""
        index = likeliest(probability).to(self.index.dtype).masked_fill_(ignored, IGNORE)
        # In place: at the size of a large photo, with many classes, a copy would not fit into memory.
        return replace(self, index=index, probability=probability.masked_fill_(ignored[:, None], 0))

    def erase(self, region: Tensor) -> Masks:
        """What nobody can see, nobody can name: IGNORE."""
        return self.paste(self.blank((region.shape[1], region.shape[2])), region)

    def blank(self, size: Size) -> Masks:
        index = torch.full((len(self), *size), IGNORE, dtype=self.index.dtype, device=self.index.device)
        return Masks(index, self.num_classes)

    def regions(self) -> list[Region]:
        return []

    def annotations(self) -> Annotations:
        return Annotations(mask=self.index[0].numpy())

    def annotated(self, changed: Annotations) -> Masks:
        assert changed.mask is not None
        return Masks(torch.from_numpy(changed.mask)[None], self.num_classes)

    def counts(self, num_classes: int) -> Tensor:
        return self.index.flatten().bincount(minlength=256)[:num_classes].float()

    def renumbered(self, numbers: Sequence[int]) -> Masks:
        table = torch.arange(256, device=self.index.device)
        table[: len(numbers)] = torch.tensor(numbers)
        index = table[self.index.long()].to(self.index.dtype)
        probability = None if self.probability is None else renumber(self.probability, numbers)
        return replace(self, index=index, probability=probability)

    def dense(self) -> Tensor:
        """Probabilities [B,K,H,W]: one-hot where only indices are known, zero where ignored."""
        if self.probability is not None:
            return self.probability
        classes = torch.arange(self.num_classes, device=self.index.device, dtype=self.index.dtype)
        return (self.index[:, None] == classes[None, :, None, None]).float()

    def image(self, index: int) -> Masks:
        keep = slice(index, index + 1)
        return replace(
            self, index=self.index[keep], probability=None if self.probability is None else self.probability[keep]
        )

    def to(self, device: torch.device | str) -> Masks:
        probability = None if self.probability is None else move(self.probability, device)
        return replace(self, index=move(self.index, device), probability=probability)

    @classmethod
    def stack(cls, items: Sequence[Masks]) -> Masks:
        first = items[0]
        dense = any(item.probability is not None for item in items)
        probability = torch.cat([item.dense() for item in items]) if dense else None
        return cls(torch.cat([item.index for item in items]), first.num_classes, probability)

    def __len__(self) -> int:
        return len(self.index)
