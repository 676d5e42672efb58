"""One image of a data set and its truth, before anything is read; a batch of them, after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.types.images import ImageInfo
from vision_tasks.types.targets import Size, T, T_co


@dataclass(frozen=True)
class Extent:
    """Where on a medium the bytes of a sample lie: whoever knows, can read one after the other."""

    shard: str  # path or URL
    offset: int  # bytes
    size: int


@dataclass(frozen=True)
class Sample(Generic[T_co]):
    """One image of a data set and how to get its truth; nothing is read before it is asked for."""

    id: str  # stable and unique in its data set; luck, splits and outputs are keyed by it
    path: Path
    # Size of the original, or None where nobody has read it -> target in its pixels (B = 1). Raises UserError naming a
    # file, and DecodeError where the truth of this one image is for another size, or is a file that can't be read.
    truth: Callable[[Size | None], T_co]
    stratum: str = ""  # what a stratified split balances (the class, for whole-image labels)
    pixels: Callable[[], NDArray[np.uint8]] | None = None  # [h,w,3] RGB, where `path` holds many images and not one
    # The bytes of the image file where it is a member of a shard, and `path` (shard/member) is but its name. Raises
    # DecodeError.
    data: Callable[[], bytes] | None = None
    extent: Extent | None = None  # where these bytes lie


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    id: str  # of its sample
    path: Path
    reason: str


@dataclass(frozen=True)
class Batch(Generic[T]):
    """What engines and models work on."""

    images: Tensor  # float32 [B,C,H,W] in [0,1], channels-last; C = 3, RGB, where no bands were asked for
    targets: T | None  # in canvas pixels; None where there is no truth
    originals: tuple[T, ...]  # the truth in original pixels, where it was asked for; else empty
    info: tuple[ImageInfo, ...]
    failures: tuple[Failure, ...] = ()  # files of this batch that could not be read; they have no row above

    def __len__(self) -> int:
        return len(self.info)
