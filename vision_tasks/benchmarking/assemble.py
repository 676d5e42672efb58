"""The record of a benchmark, from what its folder holds so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from vision_tasks.benchmarking import judge, words
from vision_tasks.benchmarking.clock import from_files, latency, read_turns, throughput
from vision_tasks.benchmarking.footprint import Footprint
from vision_tasks.benchmarking.gallery import scored_models
from vision_tasks.benchmarking.judge import Scored
from vision_tasks.benchmarking.layout import Layout, Part
from vision_tasks.benchmarking.machine import devices, machine
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.benchmarking.record import (
    Benchmark,
    Cost,
    DataFacts,
    Estimate,
    GalleryImage,
    Judgement,
    ModelRecord,
    RunRecord,
    Speed,
)
from vision_tasks.commands.given import suited
from vision_tasks.models.registry import model_entry
from vision_tasks.tasks import Task, get_task


@dataclass(frozen=True)
class Setting:
    """What is known before anything runs."""

    plan: Plan
    data: DataFacts
    command: str
    started: str  # ISO 8601, UTC


def assemble(layout: Layout, setting: Setting) -> Benchmark:
    """Everything that is there; judged as far as models are done."""
    plan = setting.plan
    record: Task[Any] = suited(get_task(plan.task), setting.data.exclusive)
    scored = {model.name: model for model in scored_models(layout, plan)}
    models = tuple(_model(layout, plan, contender, scored.get(contender.name)) for contender in plan.contenders)
    return Benchmark(
        task=plan.task,
        data=setting.data,
        command=setting.command,
        started=setting.started,
        machine=machine(layout.clock.done),
        metric=record.score,
        headline=record.headline if record.score in record.headline else (record.score, *record.headline),
        image_size=plan.image_size or record.recipe.image_size,
        budget=str(plan.length),
        seeds=plan.seeds,
        models=models,
        judgement=_judgement(setting, models, list(scored.values()), record.score),
        gallery=tuple(GalleryImage.model_validate(entry) for entry in layout.gallery.done or ()),
    )


def _model(layout: Layout, plan: Plan, contender: Contender, scored: Scored | None) -> ModelRecord:
    parts = [layout.run(contender, seed) for seed in contender.seeds]
    runs = tuple(RunRecord.model_validate(part.done) for part in parts if part.done is not None)
    prints = _footprints(layout, plan, contender)
    failure = next((part.error for part in parts if part.error), "")
    known = next((found for part in prints.values() if (found := _footprint(part))), None)
    unmeasured = "" if known else next((part.error for part in prints.values() if part.error), "")
    name = contender.model or (known.name if known else "")
    entry = model_entry(name) if name else None
    return ModelRecord(
        name=contender.name,
        family=entry.family if entry else "",
        licence=known.code_licence if known and known.code_licence else entry.code_licence if entry else "",
        weights=contender.weights or _started_from(plan, contender),
        status="failed" if failure else "done" if scored else "waiting",
        error=failure or unmeasured,
        runs=runs,
        quality=judge.estimates(scored) if scored else {},
        cost=_cost(layout, prints, contender, known),
    )


def _started_from(plan: Plan, contender: Contender) -> str:
    own = plan.own.get(contender.model, {})
    return str(own.get("weights", plan.settings.get("weights", "none")))


def _footprints(layout: Layout, plan: Plan, contender: Contender) -> dict[tuple[str, str], Part]:
    """By device and engine."""
    ways = product(devices(), plan.engines)
    return {way: layout.footprint(contender, *way) for way in ways}


def _footprint(part: Part) -> Footprint | None:
    return None if part.done is None else Footprint.model_validate(part.done)


def _cost(
    layout: Layout, prints: dict[tuple[str, str], Part], contender: Contender, known: Footprint | None
) -> Cost | None:
    if known is None:
        return None
    lines = read_turns(layout)
    speeds = []
    for (device, engine), part in prints.items():
        own = [line for line in lines if line["key"] == f"{contender.name} {device} {engine}"]
        found = _footprint(part)
        speeds.append(
            Speed(
                device=device, engine=engine,
                error=part.error or next((line["error"] for line in own if "error" in line), ""),
                latency=latency(own), throughput=throughput(own), decode_to_result=from_files(own),
                resident_bytes=found.resident_bytes if found else None,
                device_bytes=found.device_bytes if found else None,
            )
        )  # fmt: skip
    return Cost(
        parameters=known.parameters, multiply_adds=known.multiply_adds, file_bytes=known.file_bytes,
        speeds=tuple(speeds),
    )  # fmt: skip


def _judgement(setting: Setting, models: Sequence[ModelRecord], scored: Sequence[Scored], metric: str) -> Judgement:
    """Empty until a model is done."""
    device = devices()[-1]
    quality = _by_score({model.name: judge.estimates(model)[metric] for model in scored})
    pairs = judge.compare(scored, metric)
    milliseconds, size = _costs(models, device)
    failed = [model for model in models if model.status == "failed"]
    known = {name: found.mean for name, found in quality.items() if found.mean is not None}
    return Judgement(
        pairs=tuple(pairs),
        ties=tuple(judge.ties(list(quality), pairs)),
        pareto={"latency": judge.pareto(known, milliseconds), "memory": judge.pareto(known, size)},
        device=device,
        sentences=tuple(words.sentences(metric, quality, pairs, milliseconds, failed)),
        remarks=tuple(_remarks(setting, models, scored, quality, pairs)),
    )


def _remarks(
    setting: Setting,
    models: Sequence[ModelRecord],
    scored: Sequence[Scored],
    quality: dict[str, Estimate],
    pairs: Sequence[Any],
) -> list[str]:
    if not scored:
        return []
    trained = {model.name: len(model.runs) for model in models if model.name in quality and model.runs[0].training}
    images, rare = len(scored[0].runs[0].images), judge.rare_classes(scored[0])
    return words.remarks(setting.data, images, rare, trained, pairs)


def _costs(models: Sequence[ModelRecord], device: str) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds an image, and bytes, by model: on the device by the plain engine."""
    milliseconds, size = {}, {}
    for model in models:
        for speed in model.cost.speeds if model.cost else ():
            if (speed.device, speed.engine) != (device, "torch"):
                continue
            if speed.latency:
                milliseconds[model.name] = speed.latency.p50
            taken = speed.device_bytes if speed.device_bytes is not None else speed.resident_bytes
            if taken is not None:
                size[model.name] = float(taken)
    return milliseconds, size


def _by_score(quality: dict[str, Estimate]) -> dict[str, Estimate]:
    """Those that have a score, the highest first."""
    known = {name: found.mean for name, found in quality.items() if found.mean is not None}
    return {name: quality[name] for name in sorted(known, key=lambda name: -known[name])}
