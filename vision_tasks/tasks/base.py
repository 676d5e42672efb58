"""What a task is: one frozen record of parts. Engines see only this record; a fourth task would be a fourth record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from vision_tasks.config import TrainConfig
from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.metrics.base import Metric
from vision_tasks.types import Sample, T
from vision_tasks.warp import Pixels


@dataclass(frozen=True)
class Report:
    """What of the predictions is reported, for tasks that have such a choice."""

    confidence: float = 0.25  # predictions below it are left out
    max_detections: int = 300  # of an image, the best ones


@dataclass(frozen=True)
class Output:
    """Where and how the predictions of one image are written."""

    folder: Path  # of the whole prediction
    image: str  # the image's path relative to its source; unique, so that files can be named after it
    classes: tuple[str, ...]
    report: Report


@dataclass(frozen=True)
class Task(Generic[T]):
    """The parts in which tasks differ. Everything else is shared."""

    name: str
    readers: tuple[Reader[T], ...]
    metric: Callable[[Sequence[str]], Metric[T]]
    score: str  # the metric's key that chooses the best checkpoint; larger is better
    headline: tuple[str, ...]  # the metric's keys that people are shown
    record: Callable[[T, Output], list[dict[str, Any]]]  # one image's predictions as JSON, files written beside
    draw: Callable[[Pixels, T, Output], Pixels]  # one image's predictions on a copy of it
    recipe: TrainConfig  # defaults of a training
    stored: Callable[[Path, Dataset[T], Sequence[Sample[T]]], list[T]] | None = None
    # ^ predictions of any tool: (file or folder, data set, samples of it) -> one for each sample
    several: Task[T] | None = None  # the record for data whose images may have several classes at once
