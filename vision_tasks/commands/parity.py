"""`vision-tasks parity`: whether evaluate, predict on a folder, and exported files agree on the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vision_tasks.commands.datasets import load_dataset
from vision_tasks.commands.evaluate import evaluate
from vision_tasks.commands.export import export
from vision_tasks.commands.predict import predict
from vision_tasks.data.catalog import pick_split
from vision_tasks.engine.export import FORMATS
from vision_tasks.engine.progress import downloading, say
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import model_entry
from vision_tasks.tasks import Task, get_task
from vision_tasks.types import Sample

SAME, BETWEEN = 0.001, 0.003  # how far a metric may differ in one precision, and from one to another
_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Row:
    """One way to the scores."""

    way: str
    scores: Mapping[str, float]  # the task's headline
    allowed: float  # difference from the first way


@dataclass(frozen=True)
class Parity:
    """All ways to the same scores; the first is `evaluate`."""

    rows: Sequence[Row]

    def differences(self, row: Row) -> dict[str, float]:
        """How far each of its scores is from those of `evaluate`."""
        first = self.rows[0].scores
        return {name: abs(value - first[name]) for name, value in row.scores.items()}

    def failed(self) -> list[Row]:
        """The ways that differ by more than they may; a score that is no number agrees with its like only."""
        return [row for row in self.rows if not self._agrees(row)]

    def table(self) -> str:
        """A line a way: its scores, the greatest difference, and whether that may be."""
        names = list(self.rows[0].scores)
        width = max(len(row.way) for row in self.rows)
        lines = [f"{'':{width}}  " + "  ".join(f"{name:>14}" for name in names) + "  difference"]
        for row in self.rows:
            values = "  ".join(f"{row.scores[name]:14.5f}" for name in names)
            verdict = "" if row is self.rows[0] else f"  {max(self.differences(row).values()):.5f} of {row.allowed}"
            lines.append(f"{row.way:{width}}  {values}{verdict}{'' if self._agrees(row) else '  DIFFERS'}")
        return "\n".join(lines)

    def _agrees(self, row: Row) -> bool:
        first = self.rows[0].scores
        return all(
            value <= row.allowed or (math.isnan(row.scores[name]) and math.isnan(first[name]))
            for name, value in self.differences(row).items()
        )


def parity(
    *,
    weights: Path | str,
    data: Path | str,
    split: str = "test",
    to: str | Sequence[str] | None = None,
    exported: Sequence[Path | str] = (),
    batch_size: int = 16,
    precision: str = "fp32",
    data_format: str | None = None,
) -> Parity:
    """Score `weights` on a split by `evaluate`, by `predict` on a folder of its images, and by exported files.

    `to` are formats to export to, or one text of them with commas; unless given those whose runtime is installed, ""
    for none. `exported` are files that were exported before. What `predict` writes is rounded (scores to six decimals,
    boxes to a thousandth of a pixel) and, of whole images, holds the best five classes, which is all that top-1, top-5
    and F1 need. Raises UserError.
    """
    with downloading() as report:
        _, card = load_model(weights, report)
    record = get_task(model_entry(card.name).task)
    ways = _formats(to)
    options: dict[str, Any] = {"data": data, "split": split, "data_format": data_format, "batch_size": batch_size}
    headline = record.headline if card.exclusive or record.several is None else record.several.headline
    allowed = SAME if precision == "fp32" else BETWEEN
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = [_row("evaluate", headline, evaluate(record.name, weights=weights, precision=precision, **options))]
        if stored := _stored(record, weights, folder, precision, options):
            rows.append(_row("predict", headline, stored))
        files = [Path(file) for file in exported]
        files += [export(weights=weights, to=each, out=folder / f"{each}{FORMATS[each].suffix}") for each in ways]
        for file in files:
            rows.append(_row(file.name, headline, evaluate(record.name, weights=file, **options), allowed))
    if precision != "fp32" and files:
        say(f"exported files run in fp32 and may differ by {BETWEEN}, for the weights ran in {precision}")
    return Parity(rows)


def _row(way: str, headline: Sequence[str], metrics: Mapping[str, Any], allowed: float = SAME) -> Row:
    values = {name: metrics.get(name) for name in headline}
    return Row(way, {name: math.nan if value is None else float(value) for name, value in values.items()}, allowed)


def _formats(to: str | Sequence[str] | None) -> list[str]:
    if to is None:
        return [name for name, package in _RUNTIMES.items() if find_spec(package)]
    names = [name for name in to.split(",") if name] if isinstance(to, str) else list(to)
    for name in names:
        if name not in _RUNTIMES:
            raise unknown_name("format for another engine", name, _RUNTIMES)
    return names


def _stored(
    record: Task[Any], weights: Path | str, scratch: Path, precision: str, options: dict[str, Any]
) -> dict[str, Any] | None:
    """The scores of what `predict` wrote of the split's images, under their own names."""
    dataset = load_dataset(record.name, options["data"], options["data_format"])
    samples: Sequence[Sample[Any]] = pick_split(dataset, options["split"])
    if any(sample.pixels is not None or sample.data is not None for sample in samples):
        say("images lie many in a file: they make no folder, and `predict` is left out")
        return None
    source, out = scratch / "images", scratch / "predicted"
    for sample in samples:
        link = source / sample.id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(sample.path.absolute())
    predict(record.name, weights=weights, source=source, out=out, formats="jsonl", conf=0.0,
                batch_size=options["batch_size"], precision=precision)  # fmt: skip
    stored = out / record.formats[record.always[0]].writes[0]
    try:
        return evaluate(record.name, predictions=stored, **options)
    except UserError as error:
        raise UserError(f"what predict wrote can't be scored: {error}") from error
