"""`evaluate --calibrate`: a temperature for the checkpoint that is scored, fitted before and kept in its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_tasks.commands.given import PathLike, numbered_as
from vision_tasks.data.catalog import pick_split, split_remarks
from vision_tasks.data.dataset import Dataset
from vision_tasks.engine.calibrate import fitted_temperature
from vision_tasks.engine.evaluate import Inference, score
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import KEY, ModelCard, own_header
from vision_tasks.models.temperature import Tempered, heat, store_temperature
from vision_tasks.models.weights import resolve
from vision_tasks.tasks import Task
from vision_tasks.types import Sample


def calibratable(weights: PathLike | None, model: tuple[Inference[Any], ModelCard] | None) -> Path:
    """The checkpoint to write a temperature into. Raises UserError for a model that has none, or no place for one."""
    if model is None or weights is None:
        raise UserError("--calibrate fits a temperature to a model's logits; give --weights, not --predictions")
    inference, card = model
    if not isinstance(inference.model, Tempered) or not card.exclusive:
        raise UserError(
            f"--calibrate: a temperature is for one class a whole image; {card.name} gives "
            f"{'several labels of an image, each for itself' if not card.exclusive else 'something else'}; leave it out"
        )
    source = resolve(weights)
    if source.card is not None or source.file is None or source.file.suffix != ".safetensors":
        raise UserError(f"--calibrate writes into the checkpoint, and {weights} is none of ours; train from it first")
    return source.file


def calibrate(
    file: Path,
    model: Inference[Any],
    card: ModelCard,
    record: Task[Any],
    dataset: Dataset[Any],
    samples: Sequence[Sample[Any]],
    batch_size: int,
) -> dict[str, float]:
    """Fit the temperature of `model`, keep it in `file`, and say how `samples` were calibrated without it."""
    heat(model.model, 1.0)
    before, _ = score(model, record, samples, card.classes, card.input, batch_size, intervals=False)
    for remark in split_remarks(dataset, "val"):
        say(remark)
    validation = numbered_as(card, dataset, pick_split(dataset, "val"))
    temperature = fitted_temperature(model, validation, card.input, batch_size)
    if temperature is None:
        say(f"no temperature is the best for the {len(validation)} validation images: all are right, or hardly any; "
            "it stays 1")  # fmt: skip
        temperature = 1.0
    heat(model.model, temperature)
    header = own_header(file)
    assert header is not None  # it was loaded
    store_temperature(file, KEY, header, temperature)
    say(f"temperature {temperature:.4f}, of {len(validation)} validation images; it is kept in {file}")
    return {"ece_uncalibrated": before["ece"]}
