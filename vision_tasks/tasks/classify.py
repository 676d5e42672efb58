"""Image classification: one class for a whole image, or all the classes that are to be seen on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers import (
    cifar_binary,
    csv_labels,
    folder_per_class,
    mnist_idx,
    oxford_pets,
    shard_labels,
)
from vision_tasks.data.readers.stored_labels import read_stored_labels
from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.metrics.many_labels import ManyLabelMetric
from vision_tasks.metrics.reliability import ReliabilityMetric
from vision_tasks.tasks.base import Format, Output, Task
from vision_tasks.tasks.drawing import caption
from vision_tasks.tasks.outputs.csv_table import csv_table
from vision_tasks.tasks.outputs.drawings import Draw, drawings
from vision_tasks.tasks.outputs.jsonl import JSONL
from vision_tasks.tasks.outputs.parquet import parquet_table
from vision_tasks.types import Labels, Sample
from vision_tasks.warp import Pixels

_TOP = 5


def record(prediction: Labels, image: str, output: Output) -> list[dict[str, Any]]:
    """The most probable classes, best first."""
    return _best(prediction, output, _TOP)


def draw(pixels: Pixels, prediction: Labels, output: Output) -> Pixels:
    """The image with its class and probability on a bar below it."""
    return caption(pixels, _words(_best(prediction, output, 1)) or ["no class"])


def record_many(prediction: Labels, image: str, output: Output) -> list[dict[str, Any]]:
    """All classes above the confidence threshold, best first."""
    return _confident(prediction, output)


def draw_many(pixels: Pixels, prediction: Labels, output: Output) -> Pixels:
    """The image with its classes and their probabilities on a bar below it."""
    return caption(pixels, _words(_confident(prediction, output)[:_TOP]) or ["no class"])


def stored(path: Path, dataset: Dataset[Labels], samples: Sequence[Sample[Labels]]) -> tuple[list[Labels], list[str]]:
    """What another tool, or `predict`, said of the samples."""
    ids = [sample.id for sample in samples]
    return read_stored_labels(path, dataset.classes, ids, exclusive=dataset.exclusive), []


def _confident(prediction: Labels, output: Output) -> list[dict[str, Any]]:
    return [row for row in _best(prediction, output, len(output.classes)) if row["score"] >= output.report.confidence]


def _best(prediction: Labels, output: Output, count: int) -> list[dict[str, Any]]:
    best = prediction.weight[0].topk(min(count, len(output.classes)))
    return [
        {"label": output.classes[label], "score": round(score, 6)}
        for score, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        if isfinite(score)  # of a network that has diverged
    ]


def _words(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['label']} {row['score']:.2f}" for row in rows]


def _formats(drawn: Draw[Labels]) -> dict[str, Format[Labels]]:
    return {"drawings": drawings(drawn), "csv": csv_table(), "parquet": parquet_table(), "jsonl": JSONL}


_ONE_OF_THEM: Task[Labels] = Task(
    name="classify",
    readers=(
        shard_labels.READER,
        mnist_idx.READER,
        cifar_binary.READER,
        oxford_pets.READER,
        csv_labels.READER,
        folder_per_class.READER,
    ),
    metric=ReliabilityMetric,
    training_metric=ClassificationMetric,
    score="top1",
    headline=("top1", "top5", "macro_f1"),
    record=record,
    formats=_formats(draw),
    stored=stored,
    recipe=TrainConfig(
        task="classify",
        model="resnet18",
        image_size=224,
        fit="crop",
        augment=Policy(crop_area=(0.35, 1.0), flip_x=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        epochs=30,
        batch_size=32,
        lr=1e-3,
        weight_decay=0.05,
    ),
)

_SEVERAL = replace(
    _ONE_OF_THEM,
    metric=ManyLabelMetric,
    training_metric=None,
    score="map",
    headline=("map", "macro_f1"),
    record=record_many,
    formats=_formats(draw_many),
)

CLASSIFY = replace(_ONE_OF_THEM, several=_SEVERAL)
