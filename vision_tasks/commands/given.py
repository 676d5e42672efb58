"""What every command is given, checked: models and their weights, folders, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.data.dataset import Dataset
from vision_tasks.engine.engines import placed
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.progress import downloading
from vision_tasks.errors import UserError, some
from vision_tasks.models.checkpoint import ModelCard, load_model
from vision_tasks.models.registry import model_entry, model_names
from vision_tasks.tasks import Task
from vision_tasks.types import Sample, Size

PathLike = str | Path


def load_for(task: Task[Any], weights: PathLike, device: str, precision: str) -> tuple[Inference[Any], ModelCard]:
    """The model of `weights` for this task, ready to predict, and what is known of it. Raises UserError."""
    with downloading() as report:
        model, card = load_model(weights, report)
    require_model_of(task, card.name)
    return placed(model, device, precision), card


def require_model_of(task: Task[Any], name: str) -> None:
    """A model of another task is answered with the models of this one. Raises UserError."""
    owner = model_entry(name).task
    if owner != task.name:
        raise UserError(
            f"model '{name}' is for {owner}, not for {task.name}; use `vision-tasks {owner}`, or a model of "
            f"{task.name}: {some(model_names(task.name), 5)}"
        )


def suited(record: Task[Any], exclusive: bool) -> Task[Any]:
    """The task's record for images of one class each, or of several."""
    if exclusive:
        return record
    if record.several is None:
        raise UserError(f"{record.name} takes no data whose images have several labels")
    return record.several


def numbered_as(card: ModelCard, dataset: Dataset[Any], samples: Sequence[Sample[Any]]) -> Sequence[Sample[Any]]:
    """`samples` with their classes numbered as the model's are: classes are matched by name. Raises UserError."""
    if only := sorted(set(card.classes) ^ set(dataset.classes)):
        raise UserError(
            f"classes differ (not in both: {some(only, 20)}): the weights know {some(card.classes, 20)}; "
            f"{dataset.root} has {some(dataset.classes, 20)}"
        )
    if card.exclusive and not dataset.exclusive:
        raise UserError(f"{dataset.root}: images have several labels, but the weights were trained for one an image")
    if card.classes == dataset.classes:
        return samples
    numbers = [card.classes.index(name) for name in dataset.classes]
    return [replace(sample, truth=partial(_renumbered, sample, numbers)) for sample in samples]


def output_folder(out: Path) -> Path:
    """The folder that results go into, made where it is missing. Raises UserError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {out}: {error.strerror}; give another --out") from error
    return out


def require_positive(**values: int) -> None:
    """Raises UserError for an option that is less than 1, by its name."""
    for name, value in values.items():
        if value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more, not {value}")


def _renumbered(sample: Sample[Any], numbers: Sequence[int], size: Size | None) -> Any:
    return sample.truth(size).renumbered(numbers)
