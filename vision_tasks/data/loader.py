"""The loader: carries out plans. Threads decode and warp straight into batch buffers, a few batches ahead.

It knows samples, matrices and regions, and nothing of tasks, models or luck. OpenCV and libjpeg release the
interpreter lock, so threads use all cores without copying pixels between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.data.bands import to_bytes
from vision_tasks.data.decode import Decoded, DecodeError, read_image
from vision_tasks.types import (
    Bands,
    Batch,
    Canvas,
    Failure,
    ImageInfo,
    Matrix,
    Overlay,
    Patch,
    Plan,
    Region,
    Sample,
    Size,
    T,
)
from vision_tasks.warp import BORDER, Pixels, warp_into

Truth = Literal["canvas", "original", "none"]

_BATCHES_AHEAD = 2
_ROWS = 4  # of a batch, done in one job
_UNIT = np.float32(1 / 255)


@dataclass(frozen=True)
class _Row(Generic[T]):
    """One canvas done: its pixels are in the buffer, the rest is here."""

    info: ImageInfo | None  # None: the canvas' own image could not be read
    target: T | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Loader(Generic[T]):
    """Iterates over batches, in the order of their plans.

    `truth` says which targets are made: "canvas" follows the images (training), "original" stays in original pixels
    (evaluation), "none" reads no truth (prediction). `detail` is the coarsest size an image may be decoded to. `bands`
    are the channels of the batches, in this order, instead of red, green and blue. Files that cannot be read, or whose
    truth is for an image of another size, have no row in their batch and are listed in its `failures`; other errors
    are raised. Overlays are painted where truth follows the images, for they are part of it.
    """

    samples: Sequence[Sample[T]]
    plans: Iterable[Plan]
    canvas: Size
    detail: Size
    bands: Bands | None = None
    truth: Truth = "canvas"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 0  # 0 = one a core

    def __iter__(self) -> Iterator[Batch[T]]:
        # Parallel over images, not inside them: OpenCV's own threads would only get in the way.
        cv2.setNumThreads(1)
        workers = self.workers or os.cpu_count() or 1
        pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        pending: deque[tuple[Tensor, list[Future[list[_Row[T]]]]]] = deque()
        try:
            for plan in self.plans:
                pending.append(self._submit(pool, plan))
                if len(pending) > _BATCHES_AHEAD:
                    yield self._collect(*pending.popleft())
            while pending:
                yield self._collect(*pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, plan: Plan) -> tuple[Tensor, list[Future[list[_Row[T]]]]]:
        shape = (len(plan), *self.canvas, len(self.bands.numbers) if self.bands else 3)
        if self.device.type == "cuda":
            buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=True)  # the copy carries bytes, not floats
        else:
            buffer = torch.empty(shape, dtype=torch.float32)
        rows = buffer.numpy()
        return buffer, [
            pool.submit(self._fill_rows, plan[start : start + _ROWS], rows[start : start + _ROWS])
            for start in range(0, len(plan), _ROWS)
        ]

    def _fill_rows(self, plan: Plan, rows: NDArray[Any]) -> list[_Row[T]]:
        """A few rows in one job: handing over a job costs as much as a small image."""
        return [self._fill(canvas, row) for canvas, row in zip(plan, rows, strict=True)]

    def _collect(self, buffer: Tensor, futures: list[Future[list[_Row[T]]]]) -> Batch[T]:
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

    def _fill(self, canvas: Canvas, row: NDArray[Any]) -> _Row[T]:
        """Fill one row of a batch buffer; runs in a worker thread."""
        if row.dtype == np.uint8:
            return self._paint(canvas, row)
        pixels = np.empty(row.shape, np.uint8)
        done = self._paint(canvas, pixels)
        # Here the pixels are still in the core's cache; for a whole batch at once this costs eight times as much.
        np.multiply(pixels, _UNIT, out=row)
        return done

    def _paint(self, canvas: Canvas, pixels: Pixels) -> _Row[T]:
        """Paint one canvas and make its target."""
        row = self._paint_patches([step for step in canvas if isinstance(step, Patch)], pixels)
        for step in canvas:
            if isinstance(step, Overlay) and self.truth == "canvas" and row.target is not None:
                row = self._paint_overlay(row, row.target, step, pixels)
        return row

    def _paint_overlay(self, under: _Row[T], target: T, overlay: Overlay, pixels: Pixels) -> _Row[T]:
        """Bring a second canvas onto painted `pixels`, and its truth to their `target`."""
        second = np.empty_like(pixels)
        over = self._paint_patches(overlay.patches, second)
        if over.target is not None and overlay.regions is None:
            _blend(pixels, second, overlay.amount)
            target = target.blend(over.target, torch.tensor([overlay.amount]))
        elif over.target is not None and overlay.regions is not None:
            for x0, y0, x1, y1 in overlay.regions(over.target):
                pixels[y0:y1, x0:x1] = second[y0:y1, x0:x1]
                target = target.paste(over.target, _mask((x0, y0, x1, y1), self.canvas))
        return _Row(under.info, target, under.failures + over.failures)

    def _paint_patches(self, patches: Sequence[Patch], pixels: Pixels) -> _Row[T]:
        """Paint patches side by side onto border, and make their target."""
        pixels[...] = BORDER
        failures: list[Failure] = []
        info: ImageInfo | None = None
        target: T | None = None
        for position, patch in enumerate(patches):
            sample = self.samples[patch.sample]
            try:
                decoded = self._read(sample)
                truth = None if self.truth == "none" else sample.truth(decoded.size)
            except (DecodeError, MemoryError) as error:
                failures.append(Failure(sample.id, sample.path, str(error) or "too large for this machine's memory"))
                if position == 0:
                    break
                continue
            matrix = patch.place(decoded.size)
            _paint_patch(pixels, decoded, matrix, patch)
            if patch.erase:
                x0, y0, x1, y1 = patch.erase
                pixels[y0:y1, x0:x1] = BORDER
            if truth is not None:
                target = truth if self.truth == "original" else self._follow(target, truth, patch, matrix)
            if position == 0:
                info = ImageInfo(sample.id, sample.path, decoded.size, matrix)
        return _Row(info, target, tuple(failures))

    def _read(self, sample: Sample[T]) -> Decoded:
        """The image of `sample`. Raises what `read_image` raises, and what its `pixels` do."""
        if sample.pixels is None:
            return read_image(sample.path, self.detail, self.bands)
        pixels = sample.pixels()
        if self.bands:
            pixels = _chosen(pixels, self.bands)
        return Decoded(pixels, (pixels.shape[0], pixels.shape[1]), np.eye(3))

    def _follow(self, target: T | None, truth: T, patch: Patch, matrix: Matrix) -> T:
        """The canvas' target with this patch's truth added."""
        warped = truth.warp(torch.from_numpy(matrix)[None], self.canvas)
        if patch.erase:
            warped = warped.erase(_mask(patch.erase, self.canvas))
        if patch.region is None:
            return warped
        under = warped.blank(self.canvas) if target is None else target
        return under.paste(warped, _mask(patch.region, self.canvas))


def _chosen(pixels: Pixels, bands: Bands) -> Pixels:
    """Bands of an image [h,w,3] that is in memory already. Raises DecodeError."""
    if max(bands.numbers) > pixels.shape[2]:
        raise DecodeError(f"has no band {max(bands.numbers)}: it has {pixels.shape[2]} bands")
    return to_bytes(pixels[..., [number - 1 for number in bands.numbers]], bands.limits)


def _mask(region: Region, canvas: Size) -> Tensor:
    """bool [1,H,W], set in the region."""
    x0, y0, x1, y1 = region
    mask = torch.zeros(1, *canvas, dtype=torch.bool)
    mask[:, y0:y1, x0:x1] = True
    return mask


def _paint_patch(pixels: Pixels, decoded: Decoded, matrix: Matrix, patch: Patch) -> None:
    to_canvas = np.asarray(matrix @ decoded.to_original)
    warp_into(pixels, decoded.pixels, to_canvas, patch.region, patch.colour, decoded.reduction)


def _blend(pixels: Pixels, second: Pixels, amount: float) -> None:
    """`pixels` become `(1 - amount) * pixels + amount * second`, to the nearest byte."""
    flat = pixels.reshape(len(pixels), -1)  # OpenCV takes no more than 128 channels
    cv2.addWeighted(flat, 1 - amount, second.reshape(flat.shape), amount, 0, dst=flat)


def _to_network(buffer: Tensor, device: torch.device) -> Tensor:
    """[B,H,W,C], bytes or floats in [0,1] -> float32 [B,C,H,W] in [0,1], channels-last, on `device`."""
    images = buffer.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return images if images.is_floating_point() else images.float() * float(_UNIT)
