"""What a task is: one frozen record of parts. Engines see only this record; a fourth task would be a fourth record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from vision_tasks.config import TrainConfig
from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.metrics.base import Metric
from vision_tasks.tasks.tiling import Stitch
from vision_tasks.types import Sample, Size, T
from vision_tasks.warp import Pixels


@dataclass(frozen=True)
class Report:
    """What of the predictions is reported, for tasks that have such a choice."""

    confidence: float = 0.25  # predictions below it are left out
    max_detections: int = 300  # of an image, the best ones


@dataclass(frozen=True)
class Output:
    """Where and how the predictions of many images are written."""

    folder: Path
    images: Sequence[str]  # paths of all images, relative to their source; unique, so that files are named after them
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]  # what the files of the training data called the classes
    report: Report


@dataclass(frozen=True)
class Predicted(Generic[T]):
    """One image and what is written of it."""

    image: str  # one of `Output.images`
    size: Size
    sha256: str  # of the file
    pixels: Callable[[], Pixels]  # decodes the whole original, upright; raises DecodeError
    prediction: T  # in original pixels
    rows: list[dict[str, Any]]  # what is reported of it, as JSON
    drawn: T | None = None  # the prediction for `pixels`, where they are a shrunken copy of the original


Write = Callable[[Predicted[T]], None]  # raises OSError for a file that can't be written


@dataclass(frozen=True)
class Format(Generic[T]):
    """One way to write predictions: opened once, given one image after the other, closed also after Ctrl-C."""

    writes: tuple[str, ...]  # files, and folders with a slash, in the folder of the output
    open: Callable[[Output], AbstractContextManager[Write[T]]]


# (image, prediction, truth, classes, title) -> all beside one another; both B = 1 and in original pixels, on the CPU
Compare = Callable[[Pixels, T, T, Sequence[str], str], Pixels]


@dataclass(frozen=True)
class Task(Generic[T]):
    """The parts in which tasks differ. Everything else is shared."""

    name: str
    readers: tuple[Reader[T], ...]
    metric: Callable[[Sequence[str]], Metric[T]]
    score: str  # the metric's key that chooses the best checkpoint; larger is better
    headline: tuple[str, ...]  # the metric's keys that people are shown
    record: Callable[[T, str, Output], list[dict[str, Any]]]  # (prediction, its image) -> what is reported, as JSON
    formats: Mapping[str, Format[T]]  # each image is written in their order; the last, the lines, says that it was
    recipe: TrainConfig  # defaults of a training
    stored: Callable[[Path, Dataset[T], Sequence[Sample[T]]], tuple[Sequence[T], list[str]]] | None = None
    # ^ predictions of any tool: (file or folder, data set, samples of it) -> one for each, and what is to be said
    always: tuple[str, ...] = ("jsonl",)  # formats that are written unasked: those that `stored` reads
    several: Task[T] | None = None  # the record for data whose images may have several classes at once
    metric_on_device: bool = False  # whether `metric` counts where the predictions are, and not on the CPU
    training_metric: Callable[[Sequence[str]], Metric[T]] | None = None
    # ^ a faster `metric` for validation while training, with the headline's scores; None = the same one
    compare: Compare[T] | None = None  # draws what `metric` calls `worst`
    stitch: Stitch[T] | None = None  # how predictions for tiles become one; None = tiles make no sense
