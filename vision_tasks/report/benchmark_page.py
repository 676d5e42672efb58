"""The page of a benchmark: what can be said first, then the numbers, at the end how they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision_tasks.benchmarking.record import Benchmark, Machine
from vision_tasks.report.contender import Contender
from vision_tasks.report.figures import library, script
from vision_tasks.report.numbers import size
from vision_tasks.report.page import Words, facts, listed, page, paragraph, section, table, text
from vision_tasks.report.sections.comparison import comparison
from vision_tasks.report.sections.confusion import confusion
from vision_tasks.report.sections.error_kinds import error_kinds
from vision_tasks.report.sections.gallery import gallery
from vision_tasks.report.sections.learning_curves import learning_curves
from vision_tasks.report.sections.pareto import pareto
from vision_tasks.report.sections.per_class import per_class
from vision_tasks.report.sections.pictures import Pictures
from vision_tasks.report.sections.precision_recall import precision_recall
from vision_tasks.report.sections.reliability import reliability


def benchmark_page(record: Benchmark, folder: Path) -> str:
    """The whole document; `folder` holds the pictures that the record names."""
    models = contenders(record)
    sections = {
        "Quality and cost": pareto(record),
        "All models": comparison(record),
        "Failed": failed(record),
        "Classes": per_class(models),
        "Learning curves": learning_curves(models, record.metric),
        "Confusion": confusion(models),
        "Reliability": reliability(models),
        "Precision and recall": precision_recall(models),
        "Kinds of error": error_kinds(models),
        "Images on which models disagree": gallery(record.gallery, folder, Pictures()),
        "How it was measured": circumstances(record),
    }
    body = [*_lead(record), *(section(heading, parts) for heading, parts in sections.items() if parts)]
    return page(f"Benchmark on {record.data.name}", body, script(), library())


def contenders(record: Benchmark) -> list[Contender]:
    """The models that came to an end, each in the place and so the colour that it has everywhere."""
    return [
        Contender(
            model.name, place, [run.metrics for run in model.runs], [run.curve for run in model.runs if run.curve]
        )
        for place, model in enumerate(record.models)
        if model.runs
    ]


def _lead(record: Benchmark) -> list[str]:
    data = record.data
    about = f"{record.task}: {len(record.models)} models on {data.images:,} images of {data.split}"
    about += f", {len(data.classes)} classes; judged by {record.metric}."
    parts = [paragraph(about, "faint"), listed(record.judgement.sentences, "lead")]
    return parts + ([listed(record.judgement.remarks, "faint")] if record.judgement.remarks else [])


def failed(record: Benchmark) -> list[str]:
    """The models without a result, or without costs, and why."""
    rows = [[model.name, Words(model.error)] for model in record.models if model.error]
    waiting = [model.name for model in record.models if model.status == "waiting"]
    caption = "Models that came to no end, or whose costs could not be measured"
    parts = [table(caption, ["model", "reason"], rows)] if rows else []
    return parts + ([paragraph(f"Not finished yet: {', '.join(waiting)}.")] if waiting else [])


def circumstances(record: Benchmark) -> list[str]:
    """Command, data, machine."""
    return [f"<pre><code>{text(record.command)}</code></pre>", facts([*_settings(record), *_machine(record.machine)])]


def _settings(record: Benchmark) -> list[tuple[str, object]]:
    data = record.data
    subset = f", a subset of at most {data.limit:,} that is the same for all" if data.limit else ""
    return [
        ("data", f"{data.name}, {data.format}; fingerprint {data.fingerprint}"),
        ("trained on", f"{data.training_images:,} images{subset}"),
        ("scored on", f"{data.images:,} images of {data.split}"),
        ("canvas", f"{record.image_size} px"),
        ("budget", f"{record.budget}; {record.seeds} {'seed' if record.seeds == 1 else 'seeds'}"),
        ("licences", "; ".join(f"{model.name}: {model.licence}" for model in record.models)),
        ("begun", record.started),
    ]


def _machine(machine: Machine) -> list[tuple[str, object]]:
    clocks = [f"{name} {before:.0f} to {after:.0f} MHz" for name, (before, after) in machine.clock_mhz.items()]
    rows: Sequence[tuple[str, object]] = [
        *machine.devices.items(),
        ("cores", f"{machine.cores}, {machine.threads} threads of torch"),
        ("memory", size(machine.memory_bytes)),
        ("clocks", "; ".join(clocks)),
        ("load", machine.load and f"{machine.load[0]:.1f} before, {machine.load[1]:.1f} after the measurements"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
    ]
    return [(name, value) for name, value in rows if value]
