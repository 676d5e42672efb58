"""Inference over files and folders: every image gets a line, every unreadable file is listed, nothing stops it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Never, TextIO

import numpy as np
from PIL import Image

from vision_tasks.data.decode import DecodeError, read_image
from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import Inference, fitted_plans, in_original_pixels
from vision_tasks.engine.progress import progress
from vision_tasks.engine.run_folder import dumps
from vision_tasks.engine.sources import Found
from vision_tasks.tasks.base import Output, Report, Task
from vision_tasks.types import Bands, Batch, Failure, ImageInfo, InputSpec, Sample, Size, T
from vision_tasks.warp import Pixels, warp_into


@dataclass(frozen=True)
class Settings:
    """What is reported of the predictions."""

    formats: tuple[str, ...]  # of FORMATS; predictions.jsonl is always written
    report: Report
    batch_size: int


@dataclass(frozen=True)
class Summary:
    """What became of the files: predicted + failed + skipped = found."""

    predicted: int
    failed: int
    skipped: int


FORMATS = ("jsonl", "drawings")


def predict(
    model: Inference[T],
    task: Task[T],
    found: Found,
    classes: Sequence[str],
    spec: InputSpec,
    out: Path,
    settings: Settings,
) -> Summary:
    """Write `predictions.jsonl` and `failures.jsonl` (and drawings) for all images into the folder `out`."""
    samples: list[Sample[T]] = [Sample(name, path, _no_truth) for name, path in found.images]
    plans = fitted_plans(len(samples), spec, settings.batch_size)
    loader = Loader(
        samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="none", device=model.device
    )
    writer = _Writer(task, tuple(classes), out, settings, spec.bands)
    predicted = failed = 0
    with (
        (out / "predictions.jsonl").open("w", encoding="utf-8", errors="surrogateescape") as lines,
        (out / "failures.jsonl").open("w", encoding="utf-8", errors="surrogateescape") as failures,
        progress("predicting", len(samples)) as bar,
    ):
        for batch in loader:
            unwritten = (
                writer.write_all(in_original_pixels(model(batch.images), batch), batch, lines) if batch.info else []
            )
            for failure in (*batch.failures, *unwritten):
                failures.write(dumps({"image": failure.id, "reason": failure.reason}) + "\n")
            predicted += len(batch) - len(unwritten)
            failed += len(batch.failures) + len(unwritten)
            bar.advance(len(batch) + len(batch.failures))
    return Summary(predicted, failed, found.skipped)


@dataclass(frozen=True)
class _Writer:
    task: Task[Any]
    classes: tuple[str, ...]
    out: Path
    settings: Settings
    bands: Bands | None

    def write_all(self, predictions: Iterable[Any], batch: Batch[Any], lines: TextIO) -> list[Failure]:
        """A line and files for each image; the images for which that failed, and why."""
        tried = (self._try(info, result, lines) for info, result in zip(batch.info, predictions, strict=True))
        return [failure for failure in tried if failure is not None]

    def _try(self, info: ImageInfo, prediction: Any, lines: TextIO) -> Failure | None:
        """A file that has vanished meanwhile, or beside which nothing can be written, must not end the run."""
        try:
            self._write(info, prediction, lines)
        except DecodeError as error:
            return Failure(info.id, info.path, str(error))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            return Failure(info.id, info.path, error.strerror or str(error))
        return None

    def _write(self, info: ImageInfo, prediction: Any, lines: TextIO) -> None:
        output = Output(self.out, info.id, self.classes, self.settings.report)
        row = {
            "image": info.id,
            "width": info.size[1],
            "height": info.size[0],
            "sha256": hashlib.sha256(info.path.read_bytes()).hexdigest(),
            "predictions": self.task.record(prediction, output),
        }
        if "drawings" in self.settings.formats:
            drawn = self.task.draw(_upright(info, self.bands), prediction, output)
            path = self.out / "drawings" / f"{info.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(path, compress_level=3)
        lines.write(dumps(row) + "\n")


def _upright(info: ImageInfo, bands: Bands | None) -> Pixels:
    """The whole original as a person would see it; of many bands the first three, of fewer the first as grey."""
    shown = bands and replace(bands, numbers=(bands.numbers[:3] if len(bands.numbers) > 2 else bands.numbers[:1] * 3))
    decoded = read_image(info.path, bands=shown)
    pixels = np.zeros((*info.size, 3), np.uint8)
    warp_into(pixels, decoded.pixels, decoded.to_original)
    return pixels


def _no_truth(size: Size | None) -> Never:
    raise AssertionError("prediction reads no truth")
