"""Evaluation: the same canvas as prediction, scored in each image's original pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from vision_tasks.augment.plan import fitted
from vision_tasks.data.decode import read_image
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.data.painter import Read
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.device import Precision, autocast, full_float32
from vision_tasks.engine.progress import progress
from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.tasks.base import Task
from vision_tasks.types import Batch, Failure, ImageInfo, InputSpec, Plan, Sample, T


@dataclass(frozen=True)
class Inference(Generic[T]):
    """A model ready to predict: where and how precisely."""

    model: TaskModel[T]
    device: torch.device
    precision: Precision

    def __call__(self, images: Tensor) -> T:
        with autocast(self.device, self.precision), full_float32():
            return self.model.predict(images)

    @classmethod
    def of(cls, model: TaskModel[T], device: torch.device, precision: Precision) -> Inference[T]:
        """Place `model` on `device` in the memory format that convolutions like."""
        return cls(model.to(device).to(memory_format=torch.channels_last), device, precision)


def score(
    model: Inference[T],
    task: Task[T],
    samples: Sequence[Sample[T]],
    classes: Sequence[str],
    spec: InputSpec,
    batch_size: int,
    intervals: bool = True,
    read: Read = read_image,
    device_path: DevicePath | None = None,
) -> tuple[dict[str, Any], list[Failure]]:
    """The task's metrics of `model` over `samples`, and the files that could not be read (they are not scored).

    Without `intervals` they are those that a training reads, which some tasks have a faster metric for. `read` may be a
    cache, for who comes again; `device_path` as of `Loader`.
    """
    make = task.metric if intervals else task.training_metric or task.metric
    metric = make(classes)
    place = model.device if task.metric_on_device else torch.device("cpu")
    failures: list[Failure] = []
    plans = fitted_plans(len(samples), spec, batch_size)
    loader = Loader(
        samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="original", device=model.device,
        read=read, device_path=device_path,
    )  # fmt: skip
    with progress("evaluating", len(samples)) as bar:
        for batch in loader:
            failures += batch.failures
            if len(batch):
                predictions = in_original_pixels(model(batch.images), batch, place)
                for prediction, truth, info in zip(predictions, batch.originals, batch.info, strict=True):
                    metric.update(prediction, truth, info.id)
            bar.advance(len(batch) + len(batch.failures))
    if len(failures) == len(samples):
        raise nothing_readable(failures)
    return metric.compute(intervals), failures


def score_stored(
    task: Task[T], predictions: Sequence[T], samples: Sequence[Sample[T]], classes: Sequence[str]
) -> tuple[dict[str, Any], list[Failure]]:
    """The task's metrics of stored `predictions`, one for each of `samples`, and whose truth could not be read.

    No image is read.
    """
    metric = task.metric(classes)
    failures: list[Failure] = []
    with progress("scoring", len(samples)) as bar:
        for prediction, sample in zip(predictions, samples, strict=True):
            try:
                metric.update(prediction, sample.truth(None), sample.id)
            except DecodeError as error:
                failures.append(Failure(sample.id, sample.path, str(error)))
            bar.advance(1)
    if failures and len(failures) == len(samples):
        raise nothing_readable(failures)
    return metric.compute(), failures


def nothing_readable(failures: Sequence[Failure]) -> UserError:
    """The answer to data of which every image fails."""
    first = failures[0]
    return UserError(f"none of {len(failures)} images could be read; the first: {first.path}: {first.reason}")


def fitted_plans(count: int, spec: InputSpec, batch_size: int) -> list[Plan]:
    """Plans without luck over samples 0..count-1, in order."""
    starts = range(0, count, batch_size)
    return [fitted(range(start, min(start + batch_size, count)), spec.canvas, spec.fit) for start in starts]


def in_original_pixels(predictions: T, batch: Batch[Any], place: torch.device | str = "cpu") -> Iterator[T]:
    """Each image's prediction taken back from the canvas, on the device `place`.

    One at a time: at their original sizes, the predictions of a batch of large photos would not fit into memory.
    """
    predictions = predictions.to(place)
    for row, info in enumerate(batch.info):
        yield to_original(predictions.image(row), info)


def to_original(prediction: T, info: ImageInfo) -> T:
    """One image's prediction (B = 1), taken back from the canvas by the inverse of its placement."""
    return prediction.warp(torch.from_numpy(np.linalg.inv(info.placement))[None], info.size)
