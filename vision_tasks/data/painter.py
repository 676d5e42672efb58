"""Canvases: carries out the plan of one canvas, pixels and truth alike.

It knows samples, matrices and regions, and nothing of tasks, models, luck, batches or threads. Nor does it know how
pixels are painted: that is what it has surfaces for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, Self, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.bands import to_bytes
from vision_tasks.data.decode import Decoded, DecodeError, decode, read_image
from vision_tasks.errors import UserError
from vision_tasks.geometry import footprint
from vision_tasks.types import (
    Annotations,
    Bands,
    Canvas,
    Change,
    Edit,
    Failure,
    ImageInfo,
    Matrix,
    Overlay,
    Patch,
    Placement,
    Region,
    Sample,
    Size,
    T,
)
from vision_tasks.warp import BORDER, Pixels, settled, warp_into

Truth = Literal["canvas", "original", "none"]
Read = Callable[[Path, Size, Bands | None], Decoded]  # path, detail, bands; raises as `read_image`, which is one
Decode = Callable[[bytes, Size, Bands | None], Decoded]  # the bytes of a file instead; `decode` is one


class Surface(Protocol):
    """What a canvas is painted on: pixels, or a list of what is to be done later; border at first."""

    def draw(self, image: Decoded, matrix: Matrix, patch: Patch) -> None:
        """Bring `image` to where its `patch` has it, by `matrix` (original px -> canvas px), and erase from it."""

    def another(self) -> Self:
        """A surface of the same size, with nothing on it."""

    def blend(self, other: Self, amount: float) -> None:
        """Become `(1 - amount) * self + amount * other`."""

    def paste(self, other: Self, region: Region) -> None:
        """Become `other` in the `region`."""

    def edit(self, change: Change, truth: Annotations) -> Annotations:
        """Change as a whole, and give the truth that follows. Raises UserError where that fails."""


S = TypeVar("S", bound=Surface)


@dataclass(frozen=True)
class Painted(Generic[T]):
    """What belongs to a painted canvas besides its pixels."""

    info: ImageInfo | None  # None: the canvas' own image could not be read
    target: T | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Painter(Generic[T]):
    """Paints canvases of one size from `samples`; `truth`, `detail`, `bands` and `read` as `Loader` says.

    An error that no image is to blame for is raised, with a note of the file at which it came up.
    """

    samples: Sequence[Sample[T]]
    canvas: Size
    detail: Size
    bands: Bands | None
    truth: Truth
    read: Read = read_image
    decode: Decode = decode

    def paint(self, canvas: Canvas, pixels: Pixels) -> Painted[T]:
        """Paint one canvas into `pixels` [H,W,C], and make its target."""
        pixels[...] = BORDER
        return self.paint_on(PixelSurface(pixels), canvas)

    def paint_on(self, surface: Surface, canvas: Canvas) -> Painted[T]:
        """Paint one canvas on an empty `surface`, and make its target."""
        row = self._paint_own([step for step in canvas if not isinstance(step, Overlay)], surface)
        for step in canvas:
            if isinstance(step, Overlay) and self.truth == "canvas" and row.target is not None:
                row = self._paint_overlay(row, row.target, step, surface)
        return row

    def _paint_overlay(self, under: Painted[T], target: T, overlay: Overlay, surface: S) -> Painted[T]:
        """Bring a second canvas onto a painted `surface`, and its truth to the `target` there."""
        second = surface.another()
        over = self._paint_own(overlay.patches, second)
        if over.target is not None and overlay.regions is None:
            surface.blend(second, overlay.amount)
            target = target.blend(over.target, torch.tensor([overlay.amount]))
        elif over.target is not None and overlay.regions is not None:
            for region in overlay.regions(over.target):
                surface.paste(second, region)
                target = target.paste(over.target, _mask(region, self.canvas))
        return Painted(under.info, target, under.failures + over.failures)

    def _paint_own(self, steps: Sequence[Patch | Edit], surface: Surface) -> Painted[T]:
        """Paint patches, and where truth follows them what is done to them as a whole."""
        row = self._paint_patches([step for step in steps if isinstance(step, Patch)], surface)
        for step in steps:
            if isinstance(step, Edit) and self.truth == "canvas" and row.info and row.target is not None:
                row = _edited(row, row.info, row.target, step, surface)
        return row

    def _paint_patches(self, patches: Sequence[Patch], surface: Surface) -> Painted[T]:
        """Paint patches side by side, and make their target."""
        failures: list[Failure] = []
        info: ImageInfo | None = None
        target: T | None = None
        for position, patch in enumerate(patches):
            sample = self.samples[patch.sample]
            try:
                decoded = self._read(sample)
                truth = None if self.truth == "none" else sample.truth(decoded.size)
                matrix = patch.place(decoded.size)
                surface.draw(decoded, matrix, patch)
            except (DecodeError, MemoryError) as error:
                failures.append(Failure(sample.id, sample.path, str(error) or "too large for this machine's memory"))
                if position == 0:
                    break
                continue
            except Exception as error:
                error.add_note(f"at {sample.path}")
                raise
            if truth is not None:
                target = truth if self.truth == "original" else self._follow(target, truth, patch, matrix)
            if position == 0:
                info = ImageInfo(sample.id, sample.path, decoded.size, matrix)
        return Painted(info, target, tuple(failures))

    def _read(self, sample: Sample[T]) -> Decoded:
        """The image of `sample`. Raises what `read_image` raises, and what its `pixels` or `data` do."""
        if sample.data is not None:
            return self.decode(sample.data(), self.detail, self.bands)
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


class PixelSurface:
    """Pixels [H,W,C], painted at once."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def draw(self, image: Decoded, matrix: Matrix, patch: Patch) -> None:
        colour = None if patch.colour is None else settled(patch.colour, image.pixels)
        mirror = None if patch.frame is None else mirrored(patch.frame, image.size, self.pixels.shape[:2])
        to_canvas = np.asarray(matrix @ image.to_original)
        warp_into(self.pixels, image.pixels, to_canvas, patch.region, colour, image.reduction, mirror)
        if patch.erase:
            x0, y0, x1, y1 = patch.erase
            self.pixels[y0:y1, x0:x1] = BORDER

    def another(self) -> PixelSurface:
        return PixelSurface(np.full_like(self.pixels, BORDER))

    def blend(self, other: PixelSurface, amount: float) -> None:
        """To the nearest byte."""
        flat = self.pixels.reshape(len(self.pixels), -1)  # OpenCV takes no more than 128 channels
        cv2.addWeighted(flat, 1 - amount, other.pixels.reshape(flat.shape), amount, 0, dst=flat)

    def paste(self, other: PixelSurface, region: Region) -> None:
        x0, y0, x1, y1 = region
        self.pixels[y0:y1, x0:x1] = other.pixels[y0:y1, x0:x1]

    def edit(self, change: Change, truth: Annotations) -> Annotations:
        return change(self.pixels, truth)


def mirrored(frame: Placement, size: Size, canvas: Size) -> Region:
    """The rectangle of a `canvas` that mirror images fill around an image of `size`, whose `frame` a patch has."""
    return footprint(size, frame(size), (0, 0, canvas[1], canvas[0]))


def _edited(row: Painted[T], info: ImageInfo, target: T, edit: Edit, surface: Surface) -> Painted[T]:
    """Change what is painted, and its `target`; an image for which that fails is left out, like an unreadable one."""
    try:
        target = target.annotated(surface.edit(edit.change, target.annotations()))
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
