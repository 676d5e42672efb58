"""One model with one seed: trained, or gone on with, and scored with the evidence that comparisons need."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vision_tasks.benchmarking.energy import Meter
from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.material import Material, open_material
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.benchmarking.record import RunRecord, Training
from vision_tasks.benchmarking.resampled import Resampled, write_resampled
from vision_tasks.commands.configuration import resumed_config
from vision_tasks.commands.given import load_for, numbered_as, suited
from vision_tasks.config import TrainConfig
from vision_tasks.device import choose_device
from vision_tasks.engine import train as training_engine
from vision_tasks.engine.evaluate import score
from vision_tasks.engine.progress import say
from vision_tasks.engine.readable import require_readable
from vision_tasks.engine.rehearsal import rehearse
from vision_tasks.engine.run_folder import RunFolder, dumps
from vision_tasks.files import read_lines, read_text, write_text
from vision_tasks.metrics.base import Metric
from vision_tasks.metrics.evidence import write_evidence
from vision_tasks.tasks import get_task

_BATCH = 16  # of scoring; predictions don't depend on it


def train_and_score(layout: Layout, plan: Plan, contender: Contender, seed: int | None) -> None:
    """Write the run's folder to its end; what is there already is gone on with."""
    part, material = layout.run(contender, seed), open_material(plan)
    weights, training = contender.weights or str(part.folder), None
    if seed is not None:
        run = RunFolder(part.folder)
        epochs = _epochs(layout, plan, contender, material)
        training = _trained(plan, contender, seed, epochs, run, material)
    metrics = _scored(plan, weights, material, part.folder)
    curve = tuple(read_lines(part.folder / "metrics.jsonl"))
    folder = part.folder.relative_to(layout.path).as_posix()
    record = RunRecord(seed=seed, folder=folder, metrics=metrics, curve=curve, training=training)
    part.finish(record.model_dump())


def _trained(
    plan: Plan, contender: Contender, seed: int, epochs: int | None, run: RunFolder, material: Material
) -> Training:
    record, resume = get_task(plan.task), run.config.exists()
    config = resumed_config(record, run, {}) if resume else plan.config_of(contender, seed, epochs)
    with Meter(choose_device(config.device)) as meter:
        _train(config, run, material, resume)
    lines = read_lines(run.metrics)
    images = sum(line["train_images"] for line in lines)
    seconds = sum(line["train_images"] / line["train_images_per_second"] for line in lines)
    # What a process took that was killed is not known to who goes on after it.
    joules = None if resume else meter.joules
    return Training(
        epochs=len(lines), seconds=seconds, images_per_second=images / max(seconds, 1e-9), energy_joules=joules
    )


def _train(config: TrainConfig, run: RunFolder, material: Material, resume: bool) -> None:
    data = material.training
    for part in (data.train, data.val):
        require_readable(part, config.input)
    rehearse(data.train, config)
    training_engine.train(suited(get_task(config.task), data.exclusive), config, run, data, resume)


def _epochs(layout: Layout, plan: Plan, contender: Contender, material: Material) -> int | None:
    """How many epochs fit into the minutes, by the time of one; None unless minutes are what is given.

    The first epoch decodes all images, which later ones may find decoded, and its validation is counted with it: so
    trainings end within their minutes rather than beyond.
    """
    minutes, folder = plan.length.minutes, layout.trial(contender)
    if minutes is None:
        return None
    if not (folder / "seconds.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        _train(plan.config_of(contender, 0, 1), RunFolder(folder / "run"), material, resume=False)
        write_text(folder / "seconds.json", dumps(time.perf_counter() - started))
        shutil.rmtree(folder / "run")
    seconds = json.loads(read_text(folder / "seconds.json"))
    epochs = max(1, int(60 * minutes / seconds))
    say(f"an epoch takes {seconds:.0f} s: {epochs} of them in {minutes:g} minutes")
    return epochs


def _scored(plan: Plan, weights: str, material: Material, folder: Path) -> dict[str, Any]:
    """Writes `metrics.json`, `evidence.npz`, and what judging takes of it; returns the metrics."""
    record = get_task(plan.task)
    model, card = load_for(record, weights, plan.device, "fp32")
    samples, record = numbered_as(card, material.dataset, material.scored), suited(record, card.exclusive)
    used: list[Metric[Any]] = []

    def make(classes: Any) -> Metric[Any]:
        used.append(record.metric(classes))
        return used[-1]

    found, failures = score(model, replace(record, metric=make), samples, card.classes, card.input, _BATCH)
    evidence = used[0].evidence()
    failed = [{"path": str(failure.path), "reason": failure.reason} for failure in failures]
    metrics = found | {"split": plan.split, "failed": failed}
    write_text(folder / "metrics.json", dumps(metrics) + "\n")
    write_evidence(folder / "evidence.npz", evidence)
    write_resampled(folder, Resampled.of(evidence, np.array(card.classes)))
    return metrics
