"""Inference over files and folders: every image gets a line, every unreadable file is listed, nothing stops it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, Never, TextIO

import numpy as np

from vision_tasks.data.decode import DecodeError, read_image
from vision_tasks.data.loader import Loader
from vision_tasks.engine.earlier_outputs import FAILURES
from vision_tasks.engine.evaluate import Inference, fitted_plans, in_original_pixels
from vision_tasks.engine.progress import progress
from vision_tasks.engine.run_folder import dumps
from vision_tasks.engine.sources import Found
from vision_tasks.tasks.base import Output, Predicted, Report, Task, Write
from vision_tasks.types import Bands, Failure, ImageInfo, InputSpec, Sample, Size, T
from vision_tasks.warp import Pixels, warp_into

FORMATS = ("jsonl", "drawings")  # what is written where nothing else is asked for

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Settings:
    """What is written of the predictions."""

    formats: tuple[str, ...]  # of the task's
    report: Report
    batch_size: int


@dataclass(frozen=True)
class Summary:
    """What became of the files: predicted + failed + skipped = found."""

    predicted: int
    failed: int
    skipped: int


def predict(
    model: Inference[T], task: Task[T], found: Found, spec: InputSpec, out: Path, settings: Settings
) -> Summary:
    """Write the predictions for all images in the chosen formats, and `failures.jsonl`, into the folder `out`."""
    samples: list[Sample[T]] = [Sample(name, path, _no_truth) for name, path in found.images]
    plans = fitted_plans(len(samples), spec, settings.batch_size)
    loader = Loader(
        samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="none", device=model.device
    )
    info = model.model.info
    output = Output(out, [sample.id for sample in samples], info.classes, info.class_ids, settings.report)
    with (
        _opened(task, output, settings.formats) as writes,
        (out / FAILURES).open("w", 1, encoding="utf-8", errors="surrogateescape") as failures,
        progress("predicting", len(samples)) as bar,
    ):
        writer = _Writer(task, output, writes, spec.bands)
        failed = _list_failures(failures, found.failures)
        predicted = 0
        for batch in loader:
            results = in_original_pixels(model(batch.images), batch) if batch.info else iter(())
            tried = [writer.write(each, result) for each, result in zip(batch.info, results, strict=True)]
            failed += _list_failures(failures, [*batch.failures, *(failure for failure in tried if failure)])
            predicted += tried.count(None)
            bar.advance(len(batch) + len(batch.failures))
    return Summary(predicted, failed, found.skipped)


def _list_failures(file: TextIO, failures: Sequence[Failure]) -> int:
    file.writelines(dumps({"image": failure.id, "reason": failure.reason}) + "\n" for failure in failures)
    return len(failures)


@contextmanager
def _opened(task: Task[T], output: Output, formats: Sequence[str]) -> Iterator[list[Write[T]]]:
    """What writes an image, by format. The last that is opened is the first to be closed: see `Task.formats`."""
    with ExitStack() as stack:
        yield [stack.enter_context(task.formats[name].open(output)) for name in formats]


@dataclass(frozen=True)
class _Writer(Generic[T]):
    task: Task[T]
    output: Output
    writes: Sequence[Write[T]]
    bands: Bands | None

    def write(self, info: ImageInfo, prediction: T) -> Failure | None:
        """A file that has vanished meanwhile, or beside which nothing can be written, must not end the run."""
        try:
            image = self._predicted(info, prediction)
            for write in self.writes:
                write(image)
        except DecodeError as error:
            return Failure(info.id, info.path, str(error))
        except OSError as error:
            if error.errno in _FULL:
                raise
            return Failure(info.id, info.path, error.strerror or str(error))
        return None

    def _predicted(self, info: ImageInfo, prediction: T) -> Predicted[T]:
        return Predicted(
            image=info.id,
            size=info.size,
            sha256=hashlib.sha256(info.path.read_bytes()).hexdigest(),
            pixels=partial(_upright, info, self.bands),
            prediction=prediction,
            rows=self.task.record(prediction, info.id, self.output),
        )


def _upright(info: ImageInfo, bands: Bands | None) -> Pixels:
    """The whole original as a person would see it; of many bands the first three, of fewer the first as grey."""
    shown = bands and replace(bands, numbers=(bands.numbers[:3] if len(bands.numbers) > 2 else bands.numbers[:1] * 3))
    decoded = read_image(info.path, bands=shown)
    pixels = np.zeros((*info.size, 3), np.uint8)
    warp_into(pixels, decoded.pixels, decoded.to_original)
    return pixels


def _no_truth(size: Size | None) -> Never:
    raise AssertionError("prediction reads no truth")
