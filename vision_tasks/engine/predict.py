"""Inference over files and folders: every image gets a line, every unreadable file is listed, nothing stops it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Never, TextIO

import numpy as np

from vision_tasks.data.decode import DecodeError
from vision_tasks.data.loader import Loader
from vision_tasks.data.windows import Windows, longest_side, open_windows, overview
from vision_tasks.device import is_out_of_memory, keep_freed_memory
from vision_tasks.engine.earlier_outputs import FAILURES
from vision_tasks.engine.evaluate import Inference, fitted_plans, to_original
from vision_tasks.engine.progress import Bar, progress, say
from vision_tasks.engine.sources import Found
from vision_tasks.engine.tiles import TilePredictor
from vision_tasks.engine.upright import upright
from vision_tasks.tasks.base import Output, Predicted, Report, Task, Write
from vision_tasks.tasks.outputs.jsonl import in_text
from vision_tasks.tasks.tiling import tiles_of
from vision_tasks.types import Failure, InputSpec, Sample, Size, T
from vision_tasks.warp import Pixels

FORMATS = ("jsonl", "drawings")  # what is written where nothing else is asked for

_DRAWN = 4096  # pixels: larger images are drawn on a copy that is shrunk until no side is longer
_MANY_TILES = 10_000  # so many are told, for they take long
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Settings:
    """What is written of the predictions, and how large images are predicted."""

    formats: tuple[str, ...]  # of the task's
    report: Report
    batch_size: int
    tile: int | None = None  # images with a longer side are predicted in tiles of so many pixels; None = none are


@dataclass(frozen=True)
class Summary:
    """What became of the files: predicted + failed + skipped = found."""

    predicted: int
    failed: int
    skipped: int


def predict(
    model: Inference[T], task: Task[T], found: Found, spec: InputSpec, out: Path, settings: Settings
) -> Summary:
    """Write the predictions for all images in the chosen formats, and `failures.jsonl`, into the folder `out`.

    Images in tiles come after the others.
    """
    keep_freed_memory(model.device)
    info = model.model.info
    output = Output(out, [name for name, _ in found.images], info.classes, info.class_ids, settings.report)
    small, large = _parted(found.images, settings.tile)
    with (
        _opened(task, output, settings.formats) as writes,
        (out / FAILURES).open("w", 1, encoding="utf-8", newline="\n") as failures,
        progress("predicting", len(found.images)) as bar,
    ):
        remedy = "; a smaller --tile takes less" if settings.tile else "; --tile takes large images in parts"
        writer = _Writer(task, output, writes, failures, remedy if task.stitch else "")
        writer.fail(found.failures)
        _predict_whole(model, small, spec, settings.batch_size, writer, bar)
        if settings.tile and task.stitch:
            tiles = TilePredictor(model, task.stitch, settings.tile, spec, settings.batch_size, out)
            _predict_tiled(tiles, large, writer, bar)
    return Summary(writer.predicted, writer.failed, found.skipped)


def _parted(images: Iterable[tuple[str, Path]], tile: int | None) -> tuple[list[tuple[str, Path]], ...]:
    """Images that go onto a canvas as a whole, and those that are larger than a tile."""
    small: list[tuple[str, Path]] = []
    large: list[tuple[str, Path]] = []
    for name, path in images:
        (large if tile and longest_side(path) > tile else small).append((name, path))
    return small, large


def _predict_whole(
    model: Inference[T], images: Sequence[tuple[str, Path]], spec: InputSpec, batch_size: int, writer: _Writer[T],
    bar: Bar,
) -> None:  # fmt: skip
    samples: list[Sample[T]] = [Sample(name, path, _no_truth) for name, path in images]
    of_name = {sample.id: sample for sample in samples}
    plans = fitted_plans(len(samples), spec, batch_size)
    loader = Loader(
        samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="none", device=model.device
    )
    for batch in loader:
        predictions = model(batch.images).to("cpu") if batch.info else None
        for row, info in enumerate(batch.info):
            with writer.one(info.id, info.path):
                assert predictions is not None
                result = to_original(predictions.image(row), info)
                pixels = partial(upright, of_name[info.id], spec.bands)
                writer.write(info.id, info.path, info.size, result, pixels)
        writer.fail(batch.failures)
        bar.advance(len(batch) + len(batch.failures))


def _predict_tiled(tiles: TilePredictor[T], images: Sequence[tuple[str, Path]], writer: _Writer[T], bar: Bar) -> None:
    said = {""}
    for name, path in images:
        with writer.one(name, path), open_windows(path, tiles.spec.bands) as image:
            if image.whole not in said:
                said.add(image.whole)
                say(f"{name}: decoded whole, so memory grows with such images: {image.whole}")
            if (count := len(tiles_of(image.size, tiles.side))) >= _MANY_TILES:
                say(f"{name}: {count} tiles; with a larger --tile there are fewer")
            with tiles.stitched(image, partial(_note, bar, name)) as stitching:
                factor = -(-max(image.size) // _DRAWN)
                pixels = partial(_upright, image, factor)
                drawn = stitching.shrunk(factor) if factor > 1 else None
                writer.write(name, path, image.size, stitching.result(), pixels, drawn)
        bar.advance(1)


def _note(bar: Bar, name: str, note: str) -> None:
    """How far a single image is."""
    bar.advance(0, f"{name}: {note}")


@contextmanager
def _opened(task: Task[T], output: Output, formats: Sequence[str]) -> Iterator[list[Write[T]]]:
    """What writes an image, by format. The last that is opened is the first to be closed: see `Task.formats`."""
    with ExitStack() as stack:
        yield [stack.enter_context(task.formats[name].open(output)) for name in formats]


@dataclass
class _Writer(Generic[T]):
    """Writes images and failures, and counts both."""

    task: Task[T]
    output: Output
    writes: Sequence[Write[T]]
    failures: TextIO
    remedy: str  # for images that are too large
    predicted: int = 0
    failed: int = 0

    @contextmanager
    def one(self, name: str, path: Path) -> Iterator[None]:
        """An image. A file that has vanished meanwhile, or beside which nothing can be written, doesn't end the run."""
        try:
            yield
        except DecodeError as error:
            self.fail([Failure(name, path, str(error))])
        except OSError as error:
            if error.errno in _FULL:
                raise
            self.fail([Failure(name, path, error.strerror or str(error))])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self.fail([Failure(name, path, f"too large for this machine's memory{self.remedy}")])
        else:
            self.predicted += 1

    def fail(self, failures: Sequence[Failure]) -> None:
        """List what can't be predicted."""
        rows = (in_text({"image": failure.id, "reason": failure.reason}) + "\n" for failure in failures)
        self.failures.writelines(rows)
        self.failed += len(failures)

    def write(
        self, name: str, path: Path, size: Size, prediction: T, pixels: Callable[[], Pixels], drawn: T | None = None
    ) -> None:
        """Write an image in all formats. Raises DecodeError and OSError."""
        image = Predicted(
            image=name,
            size=size,
            sha256=_sha256(path),
            pixels=pixels,
            prediction=prediction,
            rows=self.task.record(prediction, name, self.output),
            drawn=drawn,
        )
        for write in self.writes:
            write(image)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _upright(image: Windows, factor: int) -> Pixels:
    """What `upright` is of files that are open, shrunk by `factor`."""
    pixels = overview(image, factor)
    return np.ascontiguousarray(pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., :1].repeat(3, axis=2))


def _no_truth(size: Size | None) -> Never:
    raise AssertionError("prediction reads no truth")
