"""The way of a batch to a CUDA device: read and noted by workers, copied and painted on a side stream, ahead of time.

What is kept from batch to batch, and from epoch to epoch, is in `DevicePath`; one batch on its way is a `Journey`.
Nothing here needs CUDA but what it is given: the tests give it the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Generic

import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.caches.device import DeviceCache
from vision_tasks.data.decode import Decoded, decode, read_image
from vision_tasks.data.decode_choice import DecodeChoice, Place, require_decoder
from vision_tasks.data.header import read_bytes
from vision_tasks.data.nvjpeg import BatchDecode, batch_decoder, decode_each, problem_of, unread_jpeg
from vision_tasks.data.on_device.notes import Noted, Notes
from vision_tasks.data.on_device.originals import Key, Original, mean_greys
from vision_tasks.data.on_device.painter import Warp, paint
from vision_tasks.data.on_device.side_stream import Lane, Mark, free_memory, lane_for
from vision_tasks.data.on_device.upload import Uploads
from vision_tasks.data.painter import Painted, Painter, Read
from vision_tasks.errors import UserError
from vision_tasks.types import Bands, Edit, Overlay, Plan, RaggedImages, Size, T

_CACHE_SHARE = 0.5  # of the device's memory that is free before the first step
_NO_TRITON = "Triton isn't here (pip install triton)"


class DevicePath:
    """How batches get onto `device`: its warp, its decoder of JPEGs, and what it keeps.

    Without a `warp` they are painted on the CPU. `batch_decode` is None where only the CPU decodes; else `choice` says
    which of both does.
    """

    def __init__(
        self,
        device: torch.device,
        warp: Warp | None,
        choice: DecodeChoice,
        batch_decode: BatchDecode | None = None,
        cache: DeviceCache | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.device, self.warp, self.choice, self.cache = device, warp, choice, cache
        self.batch_decode = batch_decode
        self._remarks = [*remarks]

    @classmethod
    def to(
        cls, device: torch.device, decode: str = "cpu", cache: bool = False, cache_budget: int | None = None
    ) -> DevicePath | None:
        """The way to a CUDA device, or None to any other.

        `decode` is auto, cpu or cuda; with `cache`, originals stay on the device up to `cache_budget` bytes, or half of
        what is free now. Raises UserError where that is asked for and can't be had.
        """
        decoder = require_decoder(decode, device)
        if cache and device.type != "cuda":
            raise UserError("--cache device needs a CUDA device, and this runs on the CPU; use --cache auto")
        if device.type != "cuda":
            return None
        choice, remarks = DecodeChoice(decoder), []
        warp, problem = _find_warp(device)
        if warp is None:
            remarks.append(f"the images are warped on the CPU, for {problem}")
        batch_decode = None
        if decoder != "cpu" and warp is not None:
            batch_decode = batch_decoder(device)
            if problem := problem_of(batch_decode):
                choice.settle("cpu", f"decoding JPEG on the CPU: nvJPEG does not work here ({problem})")
        held = _make_cache(device, cache_budget) if cache and warp is not None else None
        return cls(device, warp, choice, batch_decode, held, remarks)

    @cached_property
    def lane(self) -> Lane:
        return lane_for(self.device)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(self.lane.pinned)

    def takes(self, plan: Plan, bands: Bands | None) -> bool:
        """Whether the device can paint such a batch: RGB, and nobody changes pixels in between."""
        return self.warp is not None and bands is None and not any(_is_edited(canvas) for canvas in plan)

    def remarks(self) -> list[str]:
        """What users should know since they were told last; mostly nothing."""
        told, self._remarks = self._remarks, []
        told += [self.choice.remark(), self.cache.remark() if self.cache else ""]
        return [remark for remark in told if remark]


class Reader:
    """Reads the images of one batch, from the device's cache, or as files, whose pixels may stay unread."""

    def __init__(self, read: Read, cache: DeviceCache | None, place: Place) -> None:
        self.read, self.cache, self.place = read, cache, place
        self.seconds: list[float] = []  # of a thread, for each image that the CPU decoded; appending is atomic

    def __call__(self, path: Path, detail: Size, bands: Bands | None) -> Decoded:
        """As `read_image`; what another cache reads is left to it."""
        if self.read is not read_image:
            return self.read(path, detail, bands)
        key = None if self.cache is None else self.cache.key(path, (detail, bands))
        if self.cache is not None and key is not None and (found := self.cache.find(key)) is not None:
            return found
        image = self.decode(read_bytes(path), detail, bands)
        return image if key is None else _known_by(key, image)

    def decode(self, data: bytes, detail: Size, bands: Bands | None) -> Decoded:
        if self.place == "cuda" and (image := unread_jpeg(data)) is not None:
            return image
        started = time.thread_time()
        decoded = decode(data, detail, bands)
        self.seconds.append(time.thread_time() - started)
        return decoded


@dataclass(frozen=True)
class Arrived(Generic[T]):
    """A batch that the device is about to have made."""

    rows: list[Painted[T]]  # also those without an image
    images: Tensor  # float32 [B,3,H,W] in [0,1], channels-last
    targets: T | None
    ready: Mark  # behind all work on both


class Journey(Generic[T]):
    """One batch on its way. Workers `note` its canvases, then one thread `finish`es it and another takes it over."""

    def __init__(self, path: DevicePath, painter: Painter[T], plan: Plan, workers: int) -> None:
        self.path, self.plan, self.workers = path, plan, workers
        # What another cache keeps was decoded by the CPU.
        decodes = path.batch_decode is not None and painter.read is read_image
        self.place: Place = path.choice.of_next_batch() if decodes else "cpu"
        self.reader = Reader(painter.read, path.cache, self.place)
        self.painter = replace(painter, read=self.reader, decode=self.reader.decode)
        self.plain = replace(painter, read=Reader(painter.read, path.cache, "cpu"))
        self.upload = path.uploads.take()

    def note(self, start: int, end: int) -> list[tuple[Painted[T], Notes]]:
        """Read the images of some canvases of the plan, follow their truth and note what is to be painted."""
        return [self._note(self.painter, row) for row in range(start, end)]

    def finish(
        self, parts: Sequence[Future[list[tuple[Painted[T], Notes]]]], stack: Callable[[list[Painted[T]]], T | None]
    ) -> Arrived[T]:
        """Paint what was noted, with the targets that `stack` makes of all."""
        rows = [row for part in parts for row in part.result()]
        lane, path = self.path.lane, self.path
        assert path.warp is not None
        with lane.work():
            rows = self._decoded(rows)
            uploaded = self.upload.packed().to(path.device, non_blocking=True, copy=True)
            path.uploads.give_back(self.upload, lane.mark())
            canvases = [notes for painted, notes in rows if painted.info is not None]
            patches = _patches(canvases)
            _know_greys([patch for patch in patches if patch.held is not None], path.cache is not None)
            if path.cache is not None:
                path.cache.keep(uploaded, patches)
            images = paint(canvases, uploaded, self.painter.canvas, path.warp)
            done = [painted for painted, _ in rows]
            return Arrived(done, images, stack(done), lane.mark())

    def _note(self, painter: Painter[T], row: int) -> tuple[Painted[T], Notes]:
        notes = Notes(painter.canvas, self.upload)
        return painter.paint_on(notes, self.plan[row]), notes

    def _decoded(self, rows: list[tuple[Painted[T], Notes]]) -> list[tuple[Painted[T], Notes]]:
        """`rows` without unread files. Canvases of which the device can't decode all are made anew by the CPU."""
        choice, unread = self.path.choice, [patch for patch in _patches_of(rows) if patch.jpeg is not None]
        if unread:
            # nvJPEG works on a stream of its own, which doesn't wait for ours: the memory that it is about to write to
            # may be of a batch before, whose warp is still to read it.
            self.path.lane.mark().wait()
        started = time.perf_counter()
        if unread:
            self._decode(unread)
        if choice.chosen is None and self.place == "cuda":
            self.path.lane.mark().wait()
            choice.measured("cuda", len(unread), time.perf_counter() - started)
        elif choice.chosen is None:
            choice.measured("cpu", len(self.reader.seconds), sum(self.reader.seconds) / self.workers)
        failed = {id(patch) for patch in unread if patch.held is None}
        return [
            self._note(self.plain, row) if any(id(patch) in failed for patch in _patches([notes])) else (painted, notes)
            for row, (painted, notes) in enumerate(rows)
        ]

    def _decode(self, unread: Sequence[Noted]) -> None:
        assert self.path.batch_decode is not None
        files = [patch.jpeg for patch in unread if patch.jpeg is not None]
        for patch, image in zip(unread, decode_each(files, self.path.batch_decode), strict=True):
            if image is not None and tuple(image.shape) == (3, *patch.size):
                patch.held = image.permute(1, 2, 0).reshape(-1)


def _find_warp(device: torch.device) -> tuple[Warp | None, str]:
    """The warp, or None and why: Triton builds what links it to a device when it is first used, with a C compiler."""
    try:
        from vision_tasks.warp_triton import warp_batch
    except ImportError:
        return None, _NO_TRITON
    try:
        pixel = RaggedImages.pack([np.zeros((1, 1, 3), np.uint8)]).to(device)
        warp_batch(pixel, torch.zeros(1, dtype=torch.int32), torch.eye(3)[None], (1, 1), 1)
    except Exception as problem:  # of any type: no compiler, no headers of Python, a driver that is too old
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        return None, f"Triton can't build its kernel here ({reason})"
    return warp_batch, ""


def _make_cache(device: torch.device, budget: int | None) -> DeviceCache:
    free = free_memory(device)
    return DeviceCache(round(_CACHE_SHARE * free) if budget is None else min(budget, free))


def _is_edited(canvas: Sequence[object]) -> bool:
    return any(isinstance(step, Edit) or (isinstance(step, Overlay) and _is_edited(step.patches)) for step in canvas)


def _known_by(key: Key, image: Decoded) -> Original:
    if isinstance(image, Original):
        return replace(image, key=key)
    return Original(image.pixels, image.size, image.to_original, image.reduction, key=key)


def _patches(canvases: Sequence[Notes]) -> list[Noted]:
    return [patch for notes in canvases for layer in notes.layers() for patch in layer.patches]


def _patches_of(rows: Sequence[tuple[Painted[T], Notes]]) -> list[Noted]:
    """What is to be painted: canvases without an own image are not."""
    return _patches([notes for painted, notes in rows if painted.info is not None])


def _know_greys(patches: Sequence[Noted], kept: bool) -> None:
    """Find out what colours turn about, of images that the device has decoded; of all of them if they are `kept`."""
    asked = [patch for patch in patches if patch.grey is None and (kept or patch.colour is not None)]
    pixels = [patch.held.reshape(*patch.size, 3) for patch in asked if patch.held is not None]
    for patch, grey in zip(asked, mean_greys(pixels), strict=True):
        patch.grey = grey
