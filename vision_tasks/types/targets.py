"""What a target is: the protocol by which truth and predictions of any kind follow their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Size = tuple[int, int]  # (height, width) in pixels
Matrix = NDArray[np.float64]  # [3,3]
Region = tuple[int, int, int, int]  # x0, y0, x1, y1 in canvas pixels, end exclusive


@dataclass(frozen=True)
class Annotations:
    """What of one image's truth lies on its pixels, as arrays for tools that change both; None = nothing of a kind."""

    boxes: NDArray[np.float64] | None = None  # [N,5]: x0, y0, x1, y1 in pixel edges, and the target's row that it is
    mask: NDArray[np.uint8] | None = None  # [H,W], IGNORE = 255


class Targets(Protocol):
    """What a target must know to follow its image; `Labels`, `Boxes` and `Masks` do, as truth and as prediction."""

    def warp(self, matrix: Tensor, size: Size) -> Self:
        """Follow images that were warped by `matrix` [B,3,3] (old px -> new px) onto canvases of `size`."""

    def paste(self, other: Self, region: Tensor) -> Self:
        """Let `other` win where `region` bool [B,H,W] is set (mosaic, cutmix); the region is a rectangle."""

    def blend(self, other: Self, amount: Tensor) -> Self:
        """Follow images mixed as `(1 - amount) * self + amount * other`, `amount` float [B] (mixup)."""

    def erase(self, region: Tensor) -> Self:
        """What remains where `region` bool [B,H,W], a rectangle, is painted over and nothing takes its place."""

    def blank(self, size: Size) -> Self:
        """The same kind of target on empty canvases of `size`: what mosaic pastes onto."""

    def regions(self) -> list[Region]:
        """The rectangles of one image's single objects (B = 1), for pasting elsewhere; empty where none are known."""

    def annotations(self) -> Annotations:
        """What of the truth of one image (B = 1) lies on its pixels."""

    def annotated(self, changed: Annotations) -> Self:
        """The truth of one image whose `annotations` were changed: moved, left out or repeated."""

    def counts(self, num_classes: int) -> Tensor:
        """How much of each class there is, float32 [K]: images, boxes or pixels."""

    def renumbered(self, numbers: Sequence[int]) -> Self:
        """The same target where class i is called `numbers[i]`, a permutation of all classes."""

    def image(self, index: int) -> Self:
        """The target of one image, still as a batch (B = 1)."""

    def to(self, device: torch.device | str) -> Self:
        """The same target on `device`."""

    @classmethod
    def stack(cls, items: Sequence[Self]) -> Self:
        """One batch out of several, in order; all must belong to canvases of one size."""

    def __len__(self) -> int: ...


T = TypeVar("T", bound=Targets)
T_co = TypeVar("T_co", bound=Targets, covariant=True)
