"""Canvases: carries out the plan of one canvas, pixels and truth alike.

It knows samples, matrices and regions, and nothing of tasks, models, luck, batches or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.bands import to_bytes
from vision_tasks.data.decode import Decoded, DecodeError, decode, read_image
from vision_tasks.errors import UserError
from vision_tasks.geometry import footprint
from vision_tasks.types import (
    Bands,
    Canvas,
    Edit,
    Failure,
    ImageInfo,
    Matrix,
    Overlay,
    Patch,
    Region,
    Sample,
    Size,
    T,
)
from vision_tasks.warp import BORDER, Pixels, settled, warp_into

Truth = Literal["canvas", "original", "none"]
Read = Callable[[Path, Size, Bands | None], Decoded]  # path, detail, bands; raises as `read_image`, which is one


@dataclass(frozen=True)
class Painted(Generic[T]):
    """What belongs to a painted canvas besides its pixels."""

    info: ImageInfo | None  # None: the canvas' own image could not be read
    target: T | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Painter(Generic[T]):
    """Paints canvases of one size from `samples`; `truth`, `detail`, `bands` and `read` as `Loader` says."""

    samples: Sequence[Sample[T]]
    canvas: Size
    detail: Size
    bands: Bands | None
    truth: Truth
    read: Read = read_image

    def paint(self, canvas: Canvas, pixels: Pixels) -> Painted[T]:
        """Paint one canvas and make its target."""
        row = self._paint_own([step for step in canvas if not isinstance(step, Overlay)], pixels)
        for step in canvas:
            if isinstance(step, Overlay) and self.truth == "canvas" and row.target is not None:
                row = self._paint_overlay(row, row.target, step, pixels)
        return row

    def _paint_overlay(self, under: Painted[T], target: T, overlay: Overlay, pixels: Pixels) -> Painted[T]:
        """Bring a second canvas onto painted `pixels`, and its truth to their `target`."""
        second = np.empty_like(pixels)
        over = self._paint_own(overlay.patches, second)
        if over.target is not None and overlay.regions is None:
            _blend(pixels, second, overlay.amount)
            target = target.blend(over.target, torch.tensor([overlay.amount]))
        elif over.target is not None and overlay.regions is not None:
            for x0, y0, x1, y1 in overlay.regions(over.target):
                pixels[y0:y1, x0:x1] = second[y0:y1, x0:x1]
                target = target.paste(over.target, _mask((x0, y0, x1, y1), self.canvas))
        return Painted(under.info, target, under.failures + over.failures)

    def _paint_own(self, steps: Sequence[Patch | Edit], pixels: Pixels) -> Painted[T]:
        """Paint patches, and where truth follows them what is done to them as a whole."""
        row = self._paint_patches([step for step in steps if isinstance(step, Patch)], pixels)
        for step in steps:
            if isinstance(step, Edit) and self.truth == "canvas" and row.info and row.target is not None:
                row = _edited(row, row.info, row.target, step, pixels)
        return row

    def _paint_patches(self, patches: Sequence[Patch], pixels: Pixels) -> Painted[T]:
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
        return Painted(info, target, tuple(failures))

    def _read(self, sample: Sample[T]) -> Decoded:
        """The image of `sample`. Raises what `read_image` raises, and what its `pixels` or `data` do."""
        if sample.data is not None:
            return decode(sample.data(), self.detail, self.bands)
        if sample.pixels is None:
            return self.read(sample.path, self.detail, self.bands)
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


def _edited(row: Painted[T], info: ImageInfo, target: T, edit: Edit, pixels: Pixels) -> Painted[T]:
    """Change painted `pixels` and their `target`; an image for which that fails is left out, like an unreadable one."""
    try:
        target = target.annotated(edit.change(pixels, target.annotations()))
    except UserError as error:
        return Painted(None, None, (*row.failures, Failure(info.id, info.path, str(error))))
    return Painted(info, target, row.failures)


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
    canvas = (0, 0, pixels.shape[1], pixels.shape[0])
    mirror = footprint(decoded.size, patch.frame(decoded.size), canvas) if patch.frame else None
    colour = None if patch.colour is None else settled(patch.colour, decoded.pixels)
    warp_into(pixels, decoded.pixels, to_canvas, patch.region, colour, decoded.reduction, mirror)


def _blend(pixels: Pixels, second: Pixels, amount: float) -> None:
    """`pixels` become `(1 - amount) * pixels + amount * second`, to the nearest byte."""
    flat = pixels.reshape(len(pixels), -1)  # OpenCV takes no more than 128 channels
    cv2.addWeighted(flat, 1 - amount, second.reshape(flat.shape), amount, 0, dst=flat)
