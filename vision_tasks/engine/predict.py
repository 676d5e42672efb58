"""Inference over all images of some sources: each gets a row or a reason, nothing stops it, memory does not grow.

What was done is kept batch by batch (`store.py`), so that whatever ends a call, the next one goes on. Pictures are
written as images are predicted, tables are made of the rows when all are done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, cast

import numpy as np

from vision_tasks.augment.plan import fitted
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.data.windows import Windows, overview
from vision_tasks.device import keep_freed_memory
from vision_tasks.engine.ahead import predicted_ahead
from vision_tasks.engine.earlier_outputs import FAILURES, without_partial
from vision_tasks.engine.evaluate import Inference, to_original
from vision_tasks.engine.image_writer import ImageWriter
from vision_tasks.engine.item_windows import is_larger, open_item
from vision_tasks.engine.pending import Pending, pending
from vision_tasks.engine.progress import Bar, progress, say
from vision_tasks.engine.reading import Reading, Readings
from vision_tasks.engine.sources import Item, Walk
from vision_tasks.engine.store import STORE, Outcomes, Store
from vision_tasks.engine.tiles import TilePredictor
from vision_tasks.engine.trimmed import parted, trimmed
from vision_tasks.engine.watch import Rested, again_and_again
from vision_tasks.errors import UserError
from vision_tasks.tasks.base import Output, Picture, Report, Table, Task
from vision_tasks.tasks.outputs.jsonl import write_lines
from vision_tasks.tasks.tiling import tiles_of
from vision_tasks.types import Batch, Failure, InputSpec, Plan, Size, T
from vision_tasks.warp import Pixels

FORMATS = ("jsonl", "drawings")  # what is written where nothing else is asked for

_DRAWN = 4096  # pixels: larger images are drawn on a copy that is shrunk until no side is longer
_MANY_TILES = 10_000  # so many are told, for they take long
_LARGE_AT_ONCE = 16  # images in tiles that are put off until the others before them are done


@dataclass(frozen=True)
class Settings:
    """What is written of the predictions, and how large images are predicted."""

    formats: tuple[str, ...]  # of the task's
    report: Report
    batch_size: int
    tile: int | None = None  # images with a longer side are predicted in tiles of so many pixels; None = none are
    device_path: DevicePath | None = None  # as of `Loader`
    watch: bool = False  # whether to go on looking for new images until the user stops it
    fingerprint: Mapping[str, str] = field(default_factory=dict)  # what the rows depend on, by the names of options
    at_once: int = 0  # images that the network gets, of a batch that was read; 0 = all
    canvases: tuple[Size, ...] = ()  # beside the whole one: of those that hold an image it is predicted on the smallest
    workers: int = 0  # that read images; 0 = one a core


@dataclass(frozen=True)
class Summary:
    """What became of the files: predicted + failed + skipped = found."""

    predicted: int
    failed: int
    skipped: int
    before: int = 0  # how many of `predicted` by earlier calls


class Work(Protocol):
    """Whoever predicts images, and lets an `ImageWriter` write what is said of each."""

    done: int  # images that were predicted, or failed

    def all(self, walk: Iterable[Item | Failure]) -> None:
        """Predict what is still to be predicted of a walk."""


def predict(
    model: Inference[T], task: Task[T], walk: Walk, spec: InputSpec, out: Path, settings: Settings,
    elsewhere: Callable[[ImageWriter[T], Store, Bar], Work] | None = None,
) -> Summary:  # fmt: skip
    """Write the predictions for all images in the chosen formats, and `failures.jsonl`, into the folder `out`.

    What an earlier call with the same fingerprint has done is gone on with. The work is done here, or `elsewhere`.
    Raises UserError for another fingerprint, and where the folder can't be written.
    """
    with (
        closing(Store(out / STORE, settings.fingerprint)) as store,
        without_partial(task, out),
        progress("predicting", None) as bar,
    ):
        writer = image_writer(model, task, out, settings, store)
        work = Here(model, spec, settings, store, writer, bar) if elsewhere is None else elsewhere(writer, store, bar)
        published = _Published(task, writer.output, settings.formats, store)
        if settings.watch:
            complete = False  # files that are taken away when they are done were there
            say("looking for new images until Ctrl-C")
            again_and_again(partial(work.all, Rested(walk)), published.write, lambda: work.done)
        else:
            with published.if_stopped():
                work.all(walk)
            complete = True
        published.write(complete)
        predicted, failed, before = store.counts(complete)
        return Summary(predicted, failed, walk.skipped, before)


def image_writer(
    model: Inference[T], task: Task[T], folder: Path, settings: Settings, outcomes: Outcomes
) -> ImageWriter[T]:
    """What writes each image into `folder`, as `settings` say."""
    info = model.model.info
    remedy = "; a smaller --tile takes less" if settings.tile else "; --tile takes large images in parts"
    pictures = [each for name in settings.formats if isinstance(each := task.formats[name], Picture)]
    output = Output(folder, info.classes, info.class_ids, settings.report)
    return ImageWriter(task, output, pictures, outcomes, remedy if task.stitch else "")


@dataclass(frozen=True)
class _Published:
    """The tables that are made of all rows."""

    task: Task[Any]
    output: Output
    formats: Sequence[str]
    store: Store

    def write(self, seen: bool = False) -> None:
        """Write the tables of all images, or of those that this call has seen."""
        rows = self.store.rows(seen)
        write_lines(self.output.folder / FAILURES, self.store.failures(seen))
        for name in self.formats:
            if isinstance(table := self.task.formats[name], Table):
                table.write(rows, self.output)

    @contextmanager
    def if_stopped(self) -> Iterator[None]:
        """Whatever ends the block too early: what was done until then can be used."""
        try:
            yield
        except BaseException:
            with suppress(OSError, UserError):  # the disk may be full, which is told already
                self.write()
            raise


@dataclass
class Here(Generic[T]):
    """Work of this process."""

    model: Inference[T]
    spec: InputSpec
    settings: Settings
    store: Outcomes
    writer: ImageWriter[T]
    bar: Bar
    readings: Readings[T] = field(default_factory=Readings)
    done: int = 0
    _said: set[str] = field(default_factory=lambda: {""})

    def all(self, walk: Iterable[Item | Failure]) -> None:
        """As of `Work`; images in tiles a little after those before them."""
        keep_freed_memory(self.model.device)
        images = pending(walk, self.store, self.writer, self.readings)
        more = True
        while more:
            large: list[Reading] = []
            self._whole(self._small(images, large))
            self._tiled(large)
            more = len(large) == _LARGE_AT_ONCE

    def _small(self, images: Iterator[Pending], large: list[Reading]) -> Iterator[tuple[Reading, bool]]:
        """Those that go onto a canvas as a whole, and whether an earlier call failed to.

        The others are put into `large`, until these are many.
        """
        tile = self.settings.tile
        for each in images:
            reading = self.readings.begin(each.item)
            if not tile or not is_larger(each.item, tile):
                yield reading, each.again
                continue
            large.append(reading)
            if len(large) == _LARGE_AT_ONCE:
                return

    def _whole(self, images: Iterator[tuple[Reading, bool]]) -> None:
        canvas, bands, device = self.spec.canvas, self.spec.bands, self.model.device
        plans = map(self._plan, _batches(images, self.settings.batch_size))
        loader = Loader(
            self.readings.samples, plans, canvas, detail=canvas, bands=bands, truth="none", device=device,
            workers=self.settings.workers, device_path=self.settings.device_path,
        )  # fmt: skip
        # Closed here: no thread may go on reading when the store is closed.
        with (
            closing(cast("Generator[Batch[T]]", iter(loader))) as batches,
            closing(predicted_ahead(self.model, self._shaped(batches))) as predicted,
        ):
            for batch, predictions in predicted:
                with self.writer.kept():
                    self._write(batch, predictions)
                self._advance(len(batch) + len(batch.failures))

    def _shaped(self, batches: Iterable[Batch[T]]) -> Iterable[Batch[T]]:
        """What was read, as the network gets it."""
        most = self.settings.at_once or self.settings.batch_size
        if self.settings.canvases:
            return trimmed(batches, self.settings.canvases, most)
        return parted(batches, most)

    def _plan(self, batch: Sequence[Reading]) -> Plan:
        return fitted(list(map(self.readings.number, batch)), self.spec.canvas, self.spec.fit)

    def _write(self, batch: Batch[T], predictions: T | None) -> None:
        for failure in batch.failures:
            self.writer.fail(failure.id, self.readings.end(failure.id).item.version, failure.reason)
        for row, info in enumerate(batch.info):
            reading = self.readings.end(info.id)
            with self.writer.one(reading):
                assert predictions is not None
                result = to_original(predictions.image(row), info)
                self.writer.write(reading, info.size, result, partial(reading.upright, self.spec.bands))

    def _tiled(self, images: Iterable[Reading]) -> None:
        for reading in images:
            with self.writer.kept(), self.writer.one(reading), open_item(reading, self.spec.bands) as image:
                self._tell(reading.item.name, image)
                self._write_tiled(reading, image)
            self.readings.end(reading.item.name)
            self._advance(1)

    def _write_tiled(self, reading: Reading, image: Windows) -> None:
        tile, stitch, out = self.settings.tile, self.writer.task.stitch, self.writer.output.folder
        assert tile is not None
        assert stitch is not None
        tiles = TilePredictor(self.model, stitch, tile, self.spec, self.settings.batch_size, out)
        with tiles.stitched(image, partial(_note, self.bar, reading.item.name)) as stitching:
            factor = -(-max(image.size) // _DRAWN)
            drawn = stitching.shrunk(factor) if factor > 1 else None
            self.writer.write(reading, image.size, stitching.result(), partial(_upright, image, factor), drawn)

    def _tell(self, name: str, image: Windows) -> None:
        if image.whole not in self._said:
            self._said.add(image.whole)
            say(f"{name}: decoded whole, so memory grows with such images: {image.whole}")
        assert self.settings.tile is not None
        if (count := len(tiles_of(image.size, self.settings.tile))) >= _MANY_TILES:
            say(f"{name}: {count} tiles; with a larger --tile there are fewer")

    def _advance(self, count: int) -> None:
        self.done += count
        self.bar.advance(count)


def _batches(images: Iterable[tuple[Reading, bool]], size: int) -> Iterator[list[Reading]]:
    """Those that failed before are apart: the others share batches as if no call had been ended between them."""
    queues: dict[bool, list[Reading]] = {False: [], True: []}
    for reading, again in images:
        queue = queues[again]
        queue.append(reading)
        if len(queue) == size:
            yield queue[:]
            queue.clear()
    yield from filter(None, queues.values())


def _note(bar: Bar, name: str, note: str) -> None:
    """How far a single image is."""
    bar.advance(0, f"{name}: {note}")


def _upright(image: Windows, factor: int) -> Pixels:
    """What `upright` is of files that are open, shrunk by `factor`."""
    pixels = overview(image, factor)
    return np.ascontiguousarray(pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., :1].repeat(3, axis=2))
