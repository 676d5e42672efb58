"""What is painted: patches of images on canvases, what is done to them, and what lies over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vision_tasks.types.targets import Annotations, Matrix, Region, Size, Targets


class Placement(Protocol):
    """Where an image goes on the canvas, as soon as its size is known."""

    def __call__(self, size: Size) -> Matrix:
        """The matrix original px -> canvas px for an original of `size`."""


@dataclass(frozen=True)
class Patch:
    """One image's part of a canvas: which sample, where it goes, its colours, the region it fills, what is erased."""

    sample: int  # position in the list of samples
    place: Placement
    colour: NDArray[np.float32] | None = None  # [3,5] on (R, G, B, its image's mean grey, 1) in [0,1]; None = unchanged
    region: Region | None = None  # None = the whole canvas
    erase: Region | None = None  # painted over after the image, where it is the only one of its canvas
    frame: Placement | None = None  # mirror images fill what the image would fill in this place; None = border does


class Change(Protocol):
    """What is done to a painted canvas as a whole."""

    def __call__(self, pixels: NDArray[np.uint8], truth: Annotations) -> Annotations:
        """Change `pixels` [H,W,C] in place, and give the truth that follows. Raises UserError where that fails."""


@dataclass(frozen=True)
class Edit:
    """A step after the patches of a canvas: what they painted changes, pixels and truth alike."""

    change: Change


Patches = tuple[Patch | Edit, ...]  # side by side on one canvas, the first its own sample (mosaic: three more); edits


class Choice(Protocol):
    """Which parts of a canvas are pasted onto another, as soon as its truth is known."""

    def __call__(self, truth: Targets) -> Sequence[Region]:
        """Regions, in the order in which they are pasted, of a canvas with this truth (B = 1)."""


@dataclass(frozen=True)
class Overlay:
    """A second canvas on a painted one: blended by `amount` (mixup), or pasted in regions (cutmix, copy-paste)."""

    patches: Patches
    amount: float = 1.0  # of the second canvas
    regions: Choice | None = None  # None = blended


Canvas = tuple[Patch | Edit | Overlay, ...]  # its patches, their edits, then what lies over them, in this order
Plan = Sequence[Canvas]  # one batch
