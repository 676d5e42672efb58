"""Masks of tiles become the mask of their image, of which memory holds the probabilities of one row of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from vision_tasks.tasks.tiling import Stitch, Tile
from vision_tasks.types import Masks, Size

_CHUNK = 2**22  # values, of which the largest is looked for at once


class MaskStitching:
    """Weighted sums of probabilities; rows that no further tile reaches become class indices in a file."""

    def __init__(self, file: BinaryIO, size: Size, num_classes: int) -> None:
        self._file = file
        self._size = size
        self._classes = num_classes
        self._top = 0  # the image's row that the band begins with
        self._band: Tensor | None = None  # float32 [K, rows of a tile, W]

    def add(self, tile: Tile, part: Masks) -> None:
        """Add the probabilities of a tile, by its weights."""
        x0, y0, x1, y1 = tile.region
        if self._band is None:
            self._band = torch.zeros(self._classes, y1 - y0, self._size[1])
        self._finish(self._band, y0)
        down, across = tile.weight
        self._band[:, y0 - self._top : y1 - self._top, x0:x1].addcmul_(part.dense()[0], down[:, None] * across)

    def result(self) -> Masks:
        """The likeliest classes; they stay in the file, so that they are read from it as they are used."""
        assert self._band is not None
        self._finish(self._band, self._size[0])
        self._file.flush()
        index = np.memmap(self._file, np.uint8, "c", shape=(1, *self._size))
        return Masks(torch.from_numpy(index), self._classes)

    def shrunk(self, factor: int) -> Masks:
        """The class of each block's first pixel."""
        return Masks(self.result().index[:, ::factor, ::factor], self._classes)

    def _finish(self, band: Tensor, until: int) -> None:
        """Write the rows above the image's row `until`, and make room for as many below."""
        done = until - self._top
        if not done:
            return
        step = max(1, _CHUNK // band[:, 0].numel())
        for start in range(0, done, step):
            self._file.write(_likeliest(band[:, start : min(done, start + step)]).numpy().tobytes())
        left = band.shape[1] - done
        band[:, :left] = band[:, done:].clone()
        band[:, left:] = 0
        self._top = until


def _likeliest(probability: Tensor) -> Tensor:
    """Which of values [K,h,w] is the greatest, uint8 [h,w]; torch's argmax takes several times as long."""
    index, greatest = torch.zeros(probability.shape[1:], dtype=torch.uint8), probability[0].clone()
    for label, values in enumerate(probability):
        index.masked_fill_(values > greatest, label)
        torch.maximum(greatest, values, out=greatest)
    return index


@contextmanager
def _open(folder: Path, size: Size, num_classes: int) -> Iterator[MaskStitching]:
    # In the folder of the output, as it will hold the mask, too; other places for such files are often in memory.
    with TemporaryFile(dir=folder) as file:
        yield MaskStitching(file, size, num_classes)


MASK_TILES: Stitch[Masks] = Stitch(_open)
