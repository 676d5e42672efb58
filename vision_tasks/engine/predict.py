"""Inference over files and folders: every image gets a line, every unreadable file is listed, nothing stops it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, TextIO

import numpy as np
import torch
from lightning_fabric.wrappers import _FabricModule
from PIL import Image

from vision_tasks.data.decode import read_image
from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import fitted_plans, in_original_pixels
from vision_tasks.engine.progress import progress
from vision_tasks.engine.run_folder import dumps
from vision_tasks.engine.sources import Found
from vision_tasks.tasks.base import Output, Task
from vision_tasks.types import ImageInfo, Sample, Size, T
from vision_tasks.warp import Pixels, warp_into


@dataclass(frozen=True)
class Settings:
    """What is reported of the predictions."""

    formats: tuple[str, ...]  # of jsonl, drawings
    confidence: float
    max_detections: int
    batch_size: int


@dataclass(frozen=True)
class Summary:
    """What became of the files: predicted + failed + skipped = found."""

    predicted: int
    failed: int
    skipped: int


FORMATS = ("jsonl", "drawings")


def predict(
    model: _FabricModule,
    task: Task[T],
    found: Found,
    classes: Sequence[str],
    canvas: Size,
    fit: str,
    out: Path,
    settings: Settings,
) -> Summary:
    """Write `predictions.jsonl` and `failures.jsonl` (and drawings) for all images into the folder `out`."""
    samples: list[Sample[T]] = [Sample(name, path, _no_truth) for name, path in found.images]
    plans = fitted_plans(len(samples), canvas, fit, settings.batch_size)
    device = next(model.parameters()).device
    loader = Loader(samples, plans, canvas, detail=canvas, truth="none", device=device)
    writer = _Writer(task, tuple(classes), out, settings)
    failed = 0
    with (
        (out / "predictions.jsonl").open("w", encoding="utf-8", errors="surrogateescape") as lines,
        (out / "failures.jsonl").open("w", encoding="utf-8", errors="surrogateescape") as failures,
        progress("predicting", len(samples)) as bar,
        torch.inference_mode(),
    ):
        for batch in loader:
            if len(batch):
                predictions = in_original_pixels(model.predict(batch.images), batch)
                for info, prediction in zip(batch.info, predictions, strict=True):
                    writer.write(info, prediction, lines)
            for failure in batch.failures:
                failures.write(dumps({"image": failure.id, "reason": failure.reason}) + "\n")
            failed += len(batch.failures)
            bar.advance(len(batch) + len(batch.failures))
    return Summary(len(samples) - failed, failed, found.skipped)


@dataclass(frozen=True)
class _Writer:
    task: Task[Any]
    classes: tuple[str, ...]
    out: Path
    settings: Settings

    def write(self, info: ImageInfo, prediction: Any, lines: TextIO) -> None:
        output = Output(self.out, info.id, self.classes, self.settings.confidence, self.settings.max_detections)
        row = {
            "image": info.id,
            "width": info.size[1],
            "height": info.size[0],
            "sha256": hashlib.sha256(info.path.read_bytes()).hexdigest(),
            "predictions": self.task.record(prediction, output),
        }
        lines.write(dumps(row) + "\n")
        if "drawings" in self.settings.formats:
            drawn = self.task.draw(_upright(info), prediction, output)
            path = self.out / "drawings" / f"{info.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(path, compress_level=3)


def _upright(info: ImageInfo) -> Pixels:
    """The whole original as a person would see it."""
    decoded = read_image(info.path)
    pixels = np.zeros((*info.size, 3), np.uint8)
    warp_into(pixels, decoded.pixels, decoded.to_original)
    return pixels


def _no_truth(size: Size) -> Never:
    raise AssertionError("prediction reads no truth")
