"""Canvases that are noted, to be painted by a device, many at once.

Workers decode images and follow the truth; of the pixels they only note what is to become of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Never

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.data.decode import Decoded
from vision_tasks.data.on_device.originals import Original, mean_grey
from vision_tasks.data.on_device.upload import Upload
from vision_tasks.data.painter import mirrored
from vision_tasks.types import Annotations, Change, Matrix, Patch, Region, Size


@dataclass
class Noted:
    """An image's part of a canvas, and where its pixels are: in the upload, on the device, or in a file still."""

    size: Size  # of the decoded image
    matrix: Matrix  # decoded px -> canvas px
    reduction: int
    region: Region
    mirror: Region | None
    colour: NDArray[np.float32] | None  # [3,5], as a patch has it
    grey: np.float32 | None  # which that turns about; None where nobody knows it yet, or asks for it
    start: int = 0  # in the upload
    held: Tensor | None = None  # uint8 [h*w*3] on the device
    jpeg: Tensor | None = None  # uint8 [bytes] of the file
    original: Original | None = None  # of which a cache would like to keep the pixels


@dataclass
class Mixed:
    """Another canvas over this one: the share `amount` of it, within the region."""

    other: Notes
    amount: float
    region: Region


@dataclass
class Notes:
    """A surface of `size` on which nothing is painted before a device does it."""

    size: Size
    upload: Upload
    patches: list[Noted] = field(default_factory=list)
    erased: list[Region] = field(default_factory=list)  # after the patches
    mixes: list[Mixed] = field(default_factory=list)  # after that, in this order

    def draw(self, image: Decoded, matrix: Matrix, patch: Patch) -> None:
        noted = Noted(
            size=image.pixels.shape[:2],
            matrix=np.asarray(matrix @ image.to_original),
            reduction=image.reduction,
            region=patch.region or self._whole,
            mirror=None if patch.frame is None else mirrored(patch.frame, image.size, self.size),
            colour=patch.colour,
            grey=None,
        )
        self._find_pixels(noted, image)
        self.patches.append(noted)
        if patch.erase:
            self.erased.append(patch.erase)

    def another(self) -> Notes:
        return Notes(self.size, self.upload)

    def blend(self, other: Notes, amount: float) -> None:
        self.mixes.append(Mixed(other, amount, self._whole))

    def paste(self, other: Notes, region: Region) -> None:
        self.mixes.append(Mixed(other, 1.0, region))

    def edit(self, change: Change, truth: Annotations) -> Never:
        raise AssertionError("what changes pixels of a whole canvas needs them at hand")

    def layers(self) -> Iterator[Notes]:
        """Itself, and each canvas over it, once."""
        yield self
        yield from {id(mix.other): mix.other for mix in self.mixes}.values()

    @property
    def _whole(self) -> Region:
        return 0, 0, self.size[1], self.size[0]

    def _find_pixels(self, noted: Noted, image: Decoded) -> None:
        original = image if isinstance(image, Original) else None
        if original is not None and original.key is not None:
            noted.original = original
        if original is not None and (original.held is not None or original.jpeg is not None):
            noted.held, noted.jpeg, noted.grey = original.held, original.jpeg, original.grey
            return
        noted.start = self.upload.put(image.pixels)
        if noted.colour is not None or noted.original is not None:
            noted.grey = mean_grey(image.pixels)
