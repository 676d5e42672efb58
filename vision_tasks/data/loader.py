"""The loader: batches, in the order of their plans. Threads paint canvases straight into their buffers, a few ahead.

OpenCV and libjpeg release the
interpreter lock, so threads use all cores without copying pixels between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.data.decode import read_image
from vision_tasks.data.painter import Painted, Painter, Read, Truth
from vision_tasks.types import Bands, Batch, Canvas, Plan, Sample, Size, T

_BATCHES_AHEAD = 2
_ROWS = 4  # of a batch, done in one job
_UNIT = np.float32(1 / 255)


@dataclass(frozen=True)
class Loader(Generic[T]):
    """Iterates over batches, in the order of their plans.

    `truth` says which targets are made: "canvas" follows the images (training), "original" stays in original pixels
    (evaluation), "none" reads no truth (prediction). `detail` is the coarsest size an image may be decoded to. `bands`
    are the channels of the batches, in this order, instead of red, green and blue. Files that cannot be read, or whose
    truth is for an image of another size, have no row in their batch and are listed in its `failures`; other errors
    are raised. Overlays and edits are made where truth follows the images, for they are part of it.
    `read` decodes image files; a cache, which knows some already, may take its place.
    """

    samples: Sequence[Sample[T]]
    plans: Iterable[Plan]
    canvas: Size
    detail: Size
    bands: Bands | None = None
    truth: Truth = "canvas"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 0  # 0 = one a core
    read: Read = read_image

    def __iter__(self) -> Iterator[Batch[T]]:
        # Parallel over images, not inside them: OpenCV's own threads would only get in the way.
        cv2.setNumThreads(1)
        workers = self.workers or os.cpu_count() or 1
        painter = Painter(self.samples, self.canvas, self.detail, self.bands, self.truth, self.read)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        pending: deque[tuple[Tensor, list[Future[list[Painted[T]]]]]] = deque()
        try:
            for plan in self.plans:
                pending.append(self._submit(pool, painter, plan))
                if len(pending) > _BATCHES_AHEAD:
                    yield self._collect(*pending.popleft())
            while pending:
                yield self._collect(*pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, painter: Painter[T], plan: Plan
    ) -> tuple[Tensor, list[Future[list[Painted[T]]]]]:
        shape = (len(plan), *self.canvas, len(self.bands.numbers) if self.bands else 3)
        if self.device.type == "cuda":
            buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=True)  # the copy carries bytes, not floats
        else:
            buffer = torch.empty(shape, dtype=torch.float32)
        rows = buffer.numpy()
        return buffer, [
            pool.submit(_paint_rows, painter, plan[start : start + _ROWS], rows[start : start + _ROWS])
            for start in range(0, len(plan), _ROWS)
        ]

    def _collect(self, buffer: Tensor, futures: list[Future[list[Painted[T]]]]) -> Batch[T]:
        rows = [row for future in futures for row in future.result()]
        good = [index for index, row in enumerate(rows) if row.info is not None]
        if len(good) < len(rows):
            buffer = buffer[good]
        targets = [row.target for row in rows if row.target is not None]
        stacked = type(targets[0]).stack(targets).to(self.device) if targets and self.truth == "canvas" else None
        return Batch(
            images=_to_network(buffer, self.device),
            targets=stacked,
            originals=tuple(targets) if self.truth == "original" else (),
            info=tuple(row.info for row in rows if row.info is not None),
            failures=tuple(failure for row in rows for failure in row.failures),
        )


def _paint_rows(painter: Painter[T], plan: Plan, rows: NDArray[Any]) -> list[Painted[T]]:
    """A few rows in one job: handing over a job costs as much as a small image."""
    return [_paint_row(painter, canvas, row) for canvas, row in zip(plan, rows, strict=True)]


def _paint_row(painter: Painter[T], canvas: Canvas, row: NDArray[Any]) -> Painted[T]:
    """Fill one row [H,W,C] of a batch buffer, of bytes or of floats; runs in a worker thread."""
    if row.dtype == np.uint8:
        return painter.paint(canvas, row)
    pixels = np.empty(row.shape, np.uint8)
    done = painter.paint(canvas, pixels)
    # Here the pixels are still in the core's cache; for a whole batch at once this costs eight times as much.
    np.multiply(pixels, _UNIT, out=row)
    return done


def _to_network(buffer: Tensor, device: torch.device) -> Tensor:
    """[B,H,W,C], bytes or floats in [0,1] -> float32 [B,C,H,W] in [0,1], channels-last, on `device`."""
    images = buffer.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return images if images.is_floating_point() else images.float() * float(_UNIT)
