"""Large images in overlapping tiles: each is read, predicted in batches like any image, and given to the task's stitch.

A tile is a sample whose pixels are a region, so the loader reads and warps the next tiles while the network works on
these. Memory holds a few batches, and what the stitch and the image's format need.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, cast

import numpy as np
import torch

from vision_tasks.augment.plan import Fit
from vision_tasks.data.loader import Loader
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.data.windows import Windows, overview
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.reading import no_truth
from vision_tasks.geometry import letterbox, scale
from vision_tasks.tasks.tiling import OnDemand, Stitch, Stitching, Tile, tiles_of
from vision_tasks.types import Bands, Batch, InputSpec, Matrix, Patch, Placement, Sample, Size, T
from vision_tasks.warp import Pixels


@dataclass(frozen=True)
class TilePredictor(Generic[T]):
    """A model that predicts images in tiles of `side` original pixels, each brought onto the whole canvas."""

    model: Inference[T]
    stitch: Stitch[T]
    side: int
    spec: InputSpec
    batch_size: int
    folder: Path  # for what memory should not hold

    @contextmanager
    def stitched(self, image: Windows, tell: Callable[[str], None]) -> Iterator[Stitching[T]]:
        """All tiles of an image put together; after the block the result is gone. Raises DecodeError.

        `tell` hears how far the work is.
        """
        with self.stitch.open(self.folder, image.size, len(self.model.model.info.classes)) as stitching:
            sources = self._sources(image)
            for number, part in enumerate(self._predicted(sources)):
                stitching.add(sources[number].tile, part)
                tell(f"tile {number + 1} of {len(sources)}")
            yield stitching

    def _sources(self, image: Windows) -> Sequence[_Source]:
        tiles = tiles_of(image.size, self.side)
        place = _Same(letterbox((self.side, self.side), self.spec.canvas))

        def source(number: int) -> _Source:
            if number == len(tiles):
                return _overview(image, self.spec.canvas)
            return _Source(tiles[number], partial(image.read, tiles[number].region), place, 1)

        return OnDemand(len(tiles) + self.stitch.overview, source)

    def _predicted(self, sources: Sequence[_Source]) -> Iterator[T]:
        """The prediction for each source, in its original pixels, on the CPU."""

        def sample(number: int) -> Sample[T]:
            return Sample(str(number), Path(), no_truth, pixels=sources[number].pixels)

        samples, step = OnDemand(len(sources), sample), self.batch_size
        numbers = (range(len(sources))[start : start + step] for start in range(0, len(sources), step))
        plans = ([(Patch(number, sources[number].place),) for number in batch] for batch in numbers)
        canvas, bands, device = self.spec.canvas, _renumbered(self.spec.bands), self.model.device
        loader = Loader(samples, plans, canvas, detail=canvas, bands=bands, truth="none", device=device)
        # Closed here: no thread may go on reading an image that the caller closes.
        with closing(cast("Generator[Batch[T]]", iter(loader))) as batches:
            for batch in batches:
                if batch.failures:
                    raise DecodeError(batch.failures[0].reason)
                yield from _back(self.model(batch.images).to("cpu"), batch, sources)


@dataclass(frozen=True)
class _Source:
    """A part of an image on its way to a canvas and back."""

    tile: Tile
    pixels: Callable[[], Pixels]
    place: Placement
    shrunk: int  # original pixels that one of `pixels` stands for, each way

    @property
    def size(self) -> Size:
        """In original pixels."""
        x0, y0, x1, y1 = self.tile.region
        return y1 - y0, x1 - x0


@dataclass(frozen=True)
class _Same:
    """Every tile by one matrix, also where the image is smaller than a tile; the rest of the canvas is border."""

    matrix: Matrix

    def __call__(self, size: Size) -> Matrix:
        return self.matrix


def _overview(image: Windows, canvas: Size) -> _Source:
    """The whole image, at first shrunk as far as twice the canvas allows."""
    factor = max(1, max(image.size) // (2 * max(canvas)))
    return _Source(Tile.whole(image.size), partial(overview, image, factor), Fit(canvas, "letterbox"), factor)


def _back(predictions: T, batch: Batch[T], sources: Sequence[_Source]) -> Iterator[T]:
    """Each row's prediction taken back from its canvas."""
    for row, info in enumerate(batch.info):
        source, part = sources[int(info.id)], predictions.image(row)
        matrix = scale(source.shrunk, source.shrunk) @ np.linalg.inv(info.placement)
        whole_canvas = tuple(batch.images.shape[2:]) == source.size and np.array_equal(matrix, np.eye(3))
        yield part if whole_canvas else part.warp(torch.from_numpy(matrix)[None], source.size)


def _renumbered(bands: Bands | None) -> Bands | None:
    """As the loader sees what `Windows` has read already: all of its channels, as bytes."""
    return bands and Bands(tuple(range(1, len(bands.numbers) + 1)))
