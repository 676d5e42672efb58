"""A benchmark for other programs and for plain text: `benchmark.csv`, `benchmark.md`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from vision_tasks.benchmarking.record import Benchmark, ModelRecord, Speed
from vision_tasks.report.numbers import NONE, many, mean_of, short, size, with_interval
from vision_tasks.report.sections.pareto import latency_of, memory_of

_MODEL = ("name", "family", "licence", "weights", "status", "error")
_COST = ("parameters", "multiply_adds", "file_bytes")
_SPEED = (
    *("device", "engine", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "images_per_second", "batch_size"),
    *("decode_to_result_per_second", "resident_bytes", "device_bytes", "speed_error"),
)


def benchmark_csv(record: Benchmark) -> str:
    """A row for each model, device and engine; what is undefined is empty."""
    metrics = list(dict.fromkeys(key for model in record.models for key in model.quality))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [f"{key}{end}" for key in metrics for end in ("", "_low", "_high", "_spread")]
    writer.writerow([*_MODEL, *parts, "training_seconds", *_COST, *_SPEED])
    for model in record.models:
        writer.writerows(_csv_rows(model, metrics))
    return text.getvalue()


def _csv_rows(model: ModelRecord, metrics: Sequence[str]) -> Iterator[list[object]]:
    found = [model.quality.get(key) for key in metrics]
    quality = [
        value for each in found for value in ((each.mean, each.low, each.high, each.spread) if each else [None] * 4)
    ]
    seconds = mean_of([run.training.seconds for run in model.runs if run.training])
    start = [*(getattr(model, key) for key in _MODEL), *quality, seconds]
    cost = [getattr(model.cost, key) if model.cost else None for key in _COST]
    speeds = (model.cost.speeds if model.cost else ()) or (None,)
    for speed in speeds:
        yield [*start, *cost, *(_speed(speed) if speed else [None] * len(_SPEED))]


def _speed(each: Speed) -> list[object]:
    latency, throughput = each.latency, each.throughput
    return [
        each.device,
        each.engine,
        *((latency.p50, latency.p95, latency.p99) if latency else (None,) * 3),
        *((throughput.images_per_second, throughput.batch_size) if throughput else (None,) * 2),
        each.decode_to_result,
        each.resident_bytes,
        each.device_bytes,
        each.error,
    ]


def benchmark_markdown(record: Benchmark) -> str:
    """What the page says, as far as text can."""
    data, judged = record.data, record.judgement
    failed = [f"- {_plain(model.name)}: {_plain(model.error)}" for model in record.models if model.error]
    parts = [
        f"# Benchmark on {_plain(data.name)}",
        "\n".join(f"- {_plain(sentence)}" for sentence in judged.sentences),
        "\n".join(f"- {_plain(remark)}" for remark in judged.remarks),
        _table(record),
        "\n".join(["Failed:", "", *failed]) if failed else "",
        f"Judged by {record.metric} on {data.images:,} images of {_plain(data.split)}; trained on "
        f"{data.training_images:,} images; canvas {record.image_size} px; {_plain(record.budget)}; "
        f"seeds: {record.seeds}.",
        "; ".join([*record.machine.devices.values(), record.machine.system, *_versions(record)]) + ".",
        f"```\n{record.command}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _versions(record: Benchmark) -> list[str]:
    return [f"{name} {version}" for name, version in record.machine.versions.items()]


def _table(record: Benchmark) -> str:
    device = record.judgement.device
    header = ["model", *record.headline, f"latency on {device}, ms", "memory", "parameters", "multiply-adds"]
    rows = [_row(record, model, device) for model in record.models if model.quality]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]) if rows else ""


def _row(record: Benchmark, model: ModelRecord, device: str) -> list[str]:
    found = [model.quality.get(key) for key in record.headline]
    cost = model.cost
    return [
        _plain(model.name),
        *(with_interval(each.mean, each.low, each.high) if each else NONE for each in found),
        short(latency_of(model, device)),
        size(memory_of(model, device)),
        many(cost.parameters if cost else None),
        many(cost.multiply_adds if cost else None),
    ]


def _plain(words: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in " ".join(words.split()))
