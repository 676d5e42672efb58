"""`evaluate`: the scores of a checkpoint, or of stored predictions of any tool, on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.commands.calibrate import calibratable, calibrate
from vision_tasks.commands.datasets import introduce, load_dataset
from vision_tasks.commands.given import PathLike, load_for, numbered_as, output_folder, require_positive, suited
from vision_tasks.data.catalog import pick_split, split_remarks
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import write_flaws
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.engine.engines import with_engine
from vision_tasks.engine.evaluate import Inference, score, score_stored
from vision_tasks.engine.progress import say
from vision_tasks.engine.run_folder import dumps
from vision_tasks.engine.worst import predicted_again, write_worst
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.models.checkpoint import ModelCard
from vision_tasks.models.temperature import temperature_of
from vision_tasks.report import write_report
from vision_tasks.report.model_page import write_model_page
from vision_tasks.tasks import Task, get_task
from vision_tasks.tasks.fonts import drawable
from vision_tasks.types import Bands, Failure, Sample


def evaluate(
    task: str,
    *,
    weights: PathLike | None = None,
    predictions: PathLike | None = None,
    data: PathLike,
    split: str = "test",
    out: PathLike | None = None,
    data_format: str | None = None,
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "torch",
    calibrate: bool = False,
    decode: str = "cpu",
) -> dict[str, Any]:
    """Score a checkpoint, or stored predictions of any tool, on a split; writes `metrics.json` into `out` if given.

    With `calibrate`, a temperature is fitted to the validation split before, and kept in the checkpoint: `predict` and
    `evaluate` divide logits by it from then on. The scores say what it is, and what `ece` was without it.
    Precision is fp32, torch the engine, and the CPU decodes JPEG files, unless asked for otherwise, so that a score
    does not depend on the machine. Raises UserError.
    """
    if (weights is None) == (predictions is None):
        raise UserError("give either --weights, to score a model, or --predictions, to score what is stored")
    record = get_task(task)
    require_positive(batch_size=batch_size)
    model = None if weights is None else load_for(record, weights, device, precision)
    file = calibratable(weights, model) if calibrate else None
    dataset = load_dataset(task, data, data_format)
    samples: Sequence[Sample[Any]] = pick_split(dataset, split)
    introduce(dataset, split_remarks(dataset, split))
    folder = None if out is None else output_folder(Path(out))
    if model is None:
        scored = _score_stored(record, Path(str(predictions)), dataset, samples)
    else:
        options = _Options(batch_size, engine, decode, file)
        scored = _score_model(record, *model, dataset, samples, options)
    for failure in scored.failures:
        say(f"left out, cannot be read: {failure.path}: {failure.reason}")
    failed = [{"path": str(failure.path), "reason": failure.reason} for failure in scored.failures]
    metrics = scored.metrics | {"split": split, "failed": failed}
    if folder is not None:
        _write(folder, metrics, scored)
        write_flaws(folder, dataset.flaws)
        write_model_page(folder)
    return metrics


@dataclass(frozen=True)
class _Options:
    """How a model is scored."""

    batch_size: int
    engine: str
    decode: str
    calibrated: Path | None  # the checkpoint that a temperature is fitted for, before


@dataclass(frozen=True)
class _Scored:
    """The scores, and what the pictures of the worst images need."""

    record: Task[Any]
    metrics: dict[str, Any]
    failures: Sequence[Failure]
    samples: Sequence[Sample[Any]]
    predicted: Callable[[int], Any]  # what is predicted for the sample at a position
    bands: Bands | None


def _score_model(
    record: Task[Any],
    model: Inference[Any],
    card: ModelCard,
    dataset: Dataset[Any],
    samples: Sequence[Sample[Any]],
    options: _Options,
) -> _Scored:
    samples = numbered_as(card, dataset, samples)
    record = suited(record, card.exclusive)
    before: dict[str, float] = {}
    if options.calibrated:
        before = calibrate(options.calibrated, model, card, record, dataset, samples, options.batch_size)
    temperature = temperature_of(model.model)
    model = with_engine(model, card, options.engine)
    path = DevicePath.to(model.device, options.decode)
    metrics, failures = score(model, record, samples, card.classes, card.input, options.batch_size, device_path=path)
    for remark in path.remarks() if path else ():
        say(remark)
    if before or temperature != 1:
        metrics |= before | {"temperature": temperature}
    predicted = partial(predicted_again, model, card.input, samples)
    return _Scored(record, metrics, failures, samples, predicted, card.input.bands)


def _score_stored(
    record: Task[Any], predictions: Path, dataset: Dataset[Any], samples: Sequence[Sample[Any]]
) -> _Scored:
    record = suited(record, dataset.exclusive)
    if record.stored is None:
        raise UserError(f"stored predictions of {record.name} can't be scored yet; give --weights")
    stored, remarks = record.stored(predictions, dataset, samples)
    for remark in remarks:
        say(remark)
    metrics, failures = score_stored(record, stored, samples, dataset.classes)
    return _Scored(record, metrics, failures, samples, stored.__getitem__, None)


def _write(folder: Path, metrics: dict[str, Any], scored: _Scored) -> None:
    """The scores as numbers, and as tables and pictures; the worst images."""
    classes = tuple(metrics["per_class"])
    write_text(folder / "metrics.json", dumps(metrics) + "\n")
    written = [folder / "metrics.json", *write_report(folder, metrics, classes)]
    say(f"wrote {', '.join(map(str, written))}")
    compare, picture = scored.record.compare, folder / "worst.png"
    if compare is None or "worst" not in metrics:
        return
    names = drawable(classes)
    if write_worst(picture, compare, metrics["worst"], scored.samples, scored.predicted, names, scored.bands):
        say(f"wrote {picture}")
