"""Masks of tiles become the mask of their image.

Where one tile counts alone, its classes are the image's. Where tiles fade into one another, the weighted sums of their
probabilities wait until the last of them is there: memory holds them for the seams below one row of tiles, an eighth of
its pixels, and the classes of the row.
"""

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

Corner = tuple[int, int]  # the first row and column of a rectangle in the image


class MaskStitching:
    """Rows that no further tile reaches go into a file, as class indices."""

    def __init__(self, file: BinaryIO, size: Size, num_classes: int) -> None:
        self._file = file
        self._size = size
        self._classes = num_classes
        self._top = 0  # the image's row that the band begins with
        self._band = torch.zeros(0, size[1], dtype=torch.uint8)  # [rows of a tile, W]
        self._fading: dict[Corner, tuple[Tensor, int]] = {}  # sums float32 [K,h,w], and how many tiles they lack

    def add(self, tile: Tile, part: Masks) -> None:
        """Take the classes and the probabilities of a tile."""
        x0, y0, _, y1 = tile.region
        self._advance(y0, y1 - y0)
        down, across = tile.weight
        for top, bottom, below in tile.parts[0]:
            for left, right, beside in tile.parts[1]:
                rows, columns = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
                if below * beside == 1:
                    self._put((top, left), part.index[0, rows, columns])
                    continue
                weighted = part.dense()[0, :, rows, columns] * (down[rows, None] * across[columns])
                self._fade((top, left), weighted, below * beside)

    def result(self) -> Masks:
        """The likeliest classes; they stay in the file, so that they are read from it as they are used."""
        self._advance(self._size[0], 0)
        self._file.flush()
        index = np.memmap(self._file, np.uint8, "c", shape=(1, *self._size))
        return Masks(torch.from_numpy(index), self._classes)

    def shrunk(self, factor: int) -> Masks:
        """The class of each block's first pixel."""
        return Masks(self.result().index[:, ::factor, ::factor], self._classes)

    def _fade(self, corner: Corner, weighted: Tensor, tiles: int) -> None:
        """Add to the sums at `corner`, to which so many tiles add; after the last one the classes are known."""
        total, lacking = self._fading.pop(corner, (None, tiles))
        total = weighted if total is None else total.add_(weighted)
        if lacking == 1:
            self._put(corner, _likeliest(total))
        else:
            self._fading[corner] = total, lacking - 1

    def _put(self, corner: Corner, index: Tensor) -> None:
        top, left = corner[0] - self._top, corner[1]
        self._band[top : top + index.shape[0], left : left + index.shape[1]] = index

    def _advance(self, top: int, rows: int) -> None:
        """Write the rows above the image's row `top`, and make room for `rows` from there on."""
        done = top - self._top
        if not done and len(self._band) == rows:
            return
        self._file.write(self._band[:done].numpy().data)
        left = self._band[done:]
        self._band = torch.zeros(rows, self._size[1], dtype=torch.uint8)
        self._band[: len(left)] = left
        self._top = top


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
