"""The loader: batches, in the order of their plans. Threads paint canvases straight into their buffers, a few ahead.

OpenCV and libjpeg release the interpreter lock, so threads use all cores without copying pixels between processes. On
CUDA they only read and decode, and a thread of its own has the device paint one batch after another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.data.decode import read_image
from vision_tasks.data.on_device.path import Arrived, DevicePath, Journey
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
    `read` decodes image files; a cache, which knows some already, may take its place. `device_path` is how batches get
    onto a CUDA device; whoever loads again keeps it, for it learns and holds what takes time.
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
    device_path: DevicePath | None = None  # None = one of its own, where the device is CUDA

    def __iter__(self) -> Iterator[Batch[T]]:
        # Parallel over images, not inside them: OpenCV's own threads would only get in the way.
        cv2.setNumThreads(1)
        workers = self.workers or os.cpu_count() or 1
        painter = Painter(self.samples, self.canvas, self.detail, self.bands, self.truth, self.read)
        path = self.device_path or DevicePath.to(self.device)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        stager = ThreadPoolExecutor(1, thread_name_prefix="loader-device")  # its thread starts with its first work
        pending: deque[Callable[[], Batch[T]]] = deque()
        try:
            for plan in self.plans:
                if path is not None and path.takes(plan, self.bands):
                    journey = Journey(path, painter, plan, workers)
                    pending.append(partial(self._take_over, self._send(pool, stager, journey)))
                else:
                    pending.append(partial(self._collect, *self._submit(pool, painter, plan)))
                if len(pending) > _BATCHES_AHEAD:
                    yield pending.popleft()()
            while pending:
                yield pending.popleft()()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            stager.shutdown(wait=True, cancel_futures=True)

    def _send(self, pool: ThreadPoolExecutor, stager: ThreadPoolExecutor, journey: Journey[T]) -> Future[Arrived[T]]:
        count = len(journey.plan)
        parts = [pool.submit(journey.note, start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
        return stager.submit(journey.finish, parts, self._stacked)

    def _take_over(self, future: Future[Arrived[T]]) -> Batch[T]:
        batch = future.result()
        fields = {} if batch.targets is None else vars(batch.targets)
        batch.ready.hand_over([batch.images, *(value for value in fields.values() if isinstance(value, Tensor))])
        return self._batch(batch.rows, batch.images, batch.targets)

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
        return self._batch(rows, _to_network(buffer, self.device), self._stacked(rows))

    def _stacked(self, rows: Sequence[Painted[T]]) -> T | None:
        """The targets that follow their images, on the device."""
        targets = [row.target for row in rows if row.target is not None]
        return type(targets[0]).stack(targets).to(self.device) if targets and self.truth == "canvas" else None

    def _batch(self, rows: Sequence[Painted[T]], images: Tensor, targets: T | None) -> Batch[T]:
        original = self.truth == "original"
        return Batch(
            images=images,
            targets=targets,
            originals=tuple(row.target for row in rows if row.target is not None) if original else (),
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
