"""Originals on their way to a canvas, and the way back: input, placement, many images in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.types.targets import Matrix, Size
from vision_tasks.types.tensors import move


@dataclass(frozen=True)
class RaggedImages:
    """Images of different sizes, one behind another in one buffer: what a batch carries to a device in one copy."""

    data: Tensor  # uint8 [bytes]; an image is [h,w,3] RGB, or [h,w] where it is a mask
    offset: Tensor  # int64 [P], where in `data` each begins; two may begin at one place
    size: Tensor  # int32 [P,2], (height, width)

    @classmethod
    def pack(cls, images: Sequence[NDArray[np.uint8]]) -> RaggedImages:
        """A copy of all `images` [h,w,3] or [h,w]."""
        lengths = np.array([image.size for image in images], np.int64)
        data = np.concatenate([np.empty(0, np.uint8), *(image.reshape(-1) for image in images)])
        size = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)
        return cls(torch.from_numpy(data), torch.from_numpy(lengths.cumsum() - lengths), torch.from_numpy(size))

    def to(self, device: torch.device | str) -> RaggedImages:
        """The same with `data` on `device`; the rest stays where the work is laid out, on the CPU."""
        return replace(self, data=move(self.data, device))

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True)
class Bands:
    """Which bands of a many-band image are read, and which of their values become black and white."""

    numbers: tuple[int, ...]  # of the file, from 1; colour changes touch the first three, as red, green and blue
    limits: tuple[float, float] | None = None  # None = the range of the file's number type


@dataclass(frozen=True)
class InputSpec:
    """How an original becomes a network's input: fixed by training, remembered by its checkpoints."""

    canvas: Size
    fit: str  # how a whole image is brought onto the canvas: crop, letterbox or stretch
    bands: Bands | None = None  # None = red, green and blue

    @property
    def channels(self) -> int:
        return len(self.bands.numbers) if self.bands else 3


@dataclass(frozen=True)
class ImageInfo:
    """Where a canvas came from, and the way back to it."""

    id: str
    path: Path
    size: Size  # of the original, after EXIF rotation
    placement: Matrix  # float64 [3,3], original px -> canvas px
