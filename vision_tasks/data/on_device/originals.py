"""Images that are, or will be, decoded on a device: what their canvases must know of them before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.data.decode import Decoded
from vision_tasks.types import Size
from vision_tasks.warp import LUMA, Pixels, settled

Key = tuple[Any, ...]  # what a file is known by, as long as nobody writes to it

_ONLY_GREY = np.array([[0, 0, 0, 1, 0]] * 3, np.float32)  # the colour that is an image's mean grey, everywhere


@dataclass(frozen=True)
class Original(Decoded):
    """A decoded image, or one whose pixels are elsewhere: then only the shape of `pixels` counts."""

    key: Key | None = None  # it may be kept under
    held: Tensor | None = None  # uint8 [h*w*3], its pixels on the device
    jpeg: Tensor | None = None  # uint8 [bytes], the file that they are in
    grey: np.float32 | None = None  # mean of its pixels, in [0,1], where they are elsewhere and it is known


def no_pixels(size: Size) -> Pixels:
    """The shape of an image's pixels, and none of their memory."""
    return np.broadcast_to(np.uint8(0), (*size, 3))


def mean_grey(pixels: Pixels) -> np.float32:
    """What colours of an image [h,w,3] turn about."""
    return np.float32(settled(_ONLY_GREY, pixels)[0, 3])


def mean_greys(images: Sequence[Tensor]) -> list[np.float32]:
    """`mean_grey` of images uint8 [h,w,3] that a device has, fetched from there once."""
    if not images:
        return []
    steps = (max(1, min(image.shape[:2]) // 64) for image in images)  # as `settled` looks at them
    means = [image[::step, ::step].double().mean(dim=(0, 1)) for image, step in zip(images, steps, strict=True)]
    return [np.float32(LUMA @ (mean / 255)) for mean in torch.stack(means).cpu().numpy()]


def settled_by(colour: NDArray[np.float32], grey: np.float32) -> NDArray[np.float32]:
    """As `warp.settled`, [3,5] -> [3,4], of an image whose mean grey is known."""
    return np.column_stack([colour[:, :3], colour[:, 3] * grey + colour[:, 4]])
