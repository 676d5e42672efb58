"""All models side by side: scores, costs, speeds, and which differences are real."""

from __future__ import annotations

from collections.abc import Sequence

from vision_tasks.benchmarking.record import Benchmark, Estimate, ModelRecord, Pair, Speed
from vision_tasks.report.numbers import NONE, many, mean_of, score, short, size, with_interval
from vision_tasks.report.page import Cell, Words, table, unfolding
from vision_tasks.report.palette import colour
from vision_tasks.report.sections.pareto import latency_of, memory_of, speed_of


def comparison(record: Benchmark) -> list[str]:
    """A row for each model that was scored."""
    scored = [(place, model) for place, model in enumerate(record.models) if model.quality]
    if not scored:
        return []
    device = record.judgement.device
    header = ["model", *record.headline, f"latency on {device}, ms", "images/s", "memory", "parameters"]
    header += ["multiply-adds", "file", "training, s"]
    rows = [[*_scores(record, place, model), *_costs(model, device)] for place, model in scored]
    caption = "Scores with their 95 % intervals, and costs; a button in a header sorts by its column"
    return [table(caption, header, rows, sortable=True), *_speeds(scored), *_pairs(record.judgement.pairs)]


def _scores(record: Benchmark, place: int, model: ModelRecord) -> list[Cell]:
    return [Cell(model.name, swatch=colour(place)), *(_estimate(model.quality.get(key)) for key in record.headline)]


def _estimate(found: Estimate | None) -> Cell:
    if found is None:
        return Cell(NONE)
    spread = "" if found.spread is None else f" ±{score(found.spread)}"
    return Cell(with_interval(found.mean, found.low, found.high) + spread, found.mean)


def _costs(model: ModelRecord, device: str) -> list[Cell]:
    speed, cost = speed_of(model, device), model.cost
    throughput = speed.throughput.images_per_second if speed and speed.throughput else None
    seconds = mean_of([run.training.seconds for run in model.runs if run.training])
    latency, memory = latency_of(model, device), memory_of(model, device)
    return [
        Cell(short(latency), latency),
        Cell(short(throughput), throughput),
        Cell(size(memory), memory),
        *(
            [
                Cell(many(cost.parameters), cost.parameters),
                Cell(many(cost.multiply_adds), cost.multiply_adds),
                Cell(size(cost.file_bytes), cost.file_bytes),
            ]
            if cost
            else [Cell(NONE)] * 3
        ),
        Cell(short(seconds), seconds),
    ]


def _speeds(scored: Sequence[tuple[int, ModelRecord]]) -> list[str]:
    rows = [_speed(place, model, each) for place, model in scored if model.cost for each in model.cost.speeds]
    header = [
        "model",
        "device",
        "engine",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "images/s",
        "at batch",
        "from files, images/s",
    ]
    header += ["memory of the process", "memory of the device", "remark"]
    caption = "Latency of one image, throughput and memory, by device and engine"
    return [unfolding("All speeds", [table(caption, header, rows, sortable=True)])] if rows else []


def _speed(place: int, model: ModelRecord, each: Speed) -> list[object]:
    latency, throughput = each.latency, each.throughput
    percentiles = (latency.p50, latency.p95, latency.p99) if latency else (None, None, None)
    rate, batch = (throughput.images_per_second, throughput.batch_size) if throughput else (None, None)
    return [
        Cell(model.name, swatch=colour(place)),
        each.device,
        each.engine,
        *(Cell(short(value), value) for value in (*percentiles, rate, batch, each.decode_to_result)),
        *(Cell(size(value), value) for value in (each.resident_bytes, each.device_bytes)),
        Words(each.error),
    ]


def _pairs(pairs: Sequence[Pair]) -> list[str]:
    header = ["better", "than", "score", "difference", "95 % interval", "p", "p, corrected", "real"]
    rows = [
        [
            each.better,
            each.worse,
            each.metric,
            Cell(score(each.difference), each.difference),
            Cell(f"{score(each.low)} to {score(each.high)}", each.low),
            Cell(short(each.p), each.p),
            Cell(short(each.p_holm), each.p_holm),
            "yes" if each.different else "can't be told",
        ]
        for each in pairs
    ]
    caption = "Differences between models on the same images: paired bootstrap, p corrected by Holm for all pairs"
    return [unfolding("Which differences are real", [table(caption, header, rows, sortable=True)])] if rows else []
