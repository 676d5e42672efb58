"""What a task is: one frozen record of parts. Engines see only this record; a fourth task would be a fourth record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

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
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]  # what the files of the training data called the classes
    report: Report


@dataclass(frozen=True)
class Predicted(Generic[T]):
    """One image and what is written of it."""

    image: str  # its path relative to its source; unique, so that files are named after it
    size: Size
    sha256: str  # of the file
    pixels: Callable[[], Pixels]  # decodes the whole original, upright; raises DecodeError
    prediction: T  # in original pixels
    rows: list[dict[str, Any]]  # what is reported of it, as JSON
    drawn: T | None = None  # the prediction for `pixels`, where they are a shrunken copy of the original


@dataclass(frozen=True)
class Row:
    """What is kept of an image that was predicted."""

    image: str  # as in `Predicted`, whose other fields these are, too
    size: Size
    sha256: str
    predictions: list[dict[str, Any]]


class Rows(Protocol):
    """The rows of all images, read from the disk as often as they are wanted: memory holds one at a time."""

    def __iter__(self) -> Iterator[Row]:
        """In the order of the images' names."""

    def __contains__(self, image: object) -> bool:
        """Whether an image of this name is among them."""

    def ordered(self, key: Callable[[str], str]) -> Iterator[Row]:
        """In the order of `key(name)`."""


@dataclass(frozen=True)
class Picture(Generic[T]):
    """A format of one PNG for each image, made while its pixels and its whole prediction are there."""

    folder: str  # in the folder of the output
    write: Callable[[Predicted[T], Output, Path], None]  # to this path; raises OSError, and what `pixels` raises

    @property
    def writes(self) -> tuple[str, ...]:
        return (f"{self.folder}/",)

    def file(self, image: str) -> str:
        """The image's own, relative to the folder of the output."""
        return f"{self.folder}/{image}.png"


def _nothing() -> None:
    """What most tables require."""


@dataclass(frozen=True)
class Table:
    """A format that says in few files what is reported of all images, made of the rows of all."""

    writes: tuple[str, ...]  # files, and folders with a slash, in the folder of the output
    write: Callable[[Rows, Output], None]  # each file in one step; raises OSError
    require: Callable[[], None] = _nothing  # raises UserError where a package is missing


Format = Picture[T] | Table


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
    formats: Mapping[str, Format[T]]
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
