"""`benchmark`: trains, scores, clocks and judges; each step is a process of its own, and none that is done runs again.

The folder it writes holds `plan.toml`, `benchmark.json` (rewritten after each step, so it can be read at any time),
`runs/MODEL--seedN/` (run folders as `train` makes them, and `log.txt`, `metrics.json`, `evidence.npz`), `costs/` and
`gallery/`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import torch

from vision_tasks.benchmarking.assemble import Setting, assemble
from vision_tasks.benchmarking.clock import blame
from vision_tasks.benchmarking.gallery import scored_models
from vision_tasks.benchmarking.layout import Layout, Part
from vision_tasks.benchmarking.machine import devices
from vision_tasks.benchmarking.material import Material, facts, open_material
from vision_tasks.benchmarking.plan import Contender, Plan, make_plan, read_plan, write_plan
from vision_tasks.benchmarking.processes import run_part
from vision_tasks.benchmarking.record import FILE, Benchmark, DataFacts, write_benchmark
from vision_tasks.commands.datasets import introduce, require_outside
from vision_tasks.commands.given import PathLike, load_for, numbered_as, output_folder, require_model_of
from vision_tasks.config import TrainConfig
from vision_tasks.engine.engines import ENGINES
from vision_tasks.engine.progress import say
from vision_tasks.engine.run_folder import dumps
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.files import alone_in, read_text, write_text
from vision_tasks.models.registry import create_model
from vision_tasks.report.benchmark import write_benchmark_report
from vision_tasks.tasks import get_task

_SETTING = "setting.json"
_OF_FILES = ("onnx", "openvino")  # engines that read an exported file


def benchmark(
    task: str,
    *,
    data: PathLike | None = None,
    models: Sequence[str] | None = None,
    weights: Sequence[PathLike] | None = None,
    out: PathLike,
    plan: PathLike | None = None,
    budget: str | int | None = None,
    seeds: int | None = None,
    split: str | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    augment: str | None = None,
    config: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    engines: Sequence[str] | None = None,
    device: str | None = None,
    data_format: str | None = None,
    retry: bool = False,
) -> Benchmark:
    """Train `models`, take `weights` as they are, score and clock all of them on the same images, and judge.

    `plan` is a TOML file with keys of the same names; what is given beside it counts more. Called again, it goes on
    where it stopped; what failed is tried again with `retry`. Raises UserError before anything is trained.
    """
    given = {
        "data": None if data is None else str(data), "models": models, "weights": weights, "budget": budget,
        "seeds": seeds, "split": split, "image_size": image_size, "batch_size": batch_size, "augment": augment,
        "config": None if config is None else str(Path(config).absolute()), "settings": settings, "limit": limit,
        "engines": engines, "device": device, "data_format": data_format,
    }  # fmt: skip
    whole = make_plan(task, plan, given)
    require_outside(out, whole.data)
    layout = Layout(Path(out))
    _require_same_plan(layout, whole)
    material = open_material(whole)
    _require_able(whole, material)
    output_folder(layout.path)
    with alone_in(layout.path, f"another process writes into {layout.path}; wait for it, or give another --out"):
        setting = _begin(layout, whole, material)
        steps = list(_steps(layout, whole))
        if retry:
            for step in steps:
                step.part.forget_failure()
        introduce(material.dataset, material.remarks)
        found = _Progress(layout, setting, len(steps)).run(steps)
        written = [layout.path / FILE, *write_benchmark_report(found, layout.path)]
    say(f"wrote {', '.join(map(str, written))}")
    return found


@dataclass(frozen=True)
class Step:
    """What one process does."""

    part: Part
    words: tuple[str, ...]
    title: str
    contender: Contender | None = None  # whose runs must be done before; None: at least one of all


def _steps(layout: Layout, plan: Plan) -> Iterator[Step]:
    """All of them: the seeds in turn, so that every model has one early."""
    runs = [(seed, contender) for contender in plan.contenders for seed in contender.seeds]
    for seed, contender in sorted(runs, key=lambda run: run[0] or 0):
        title = contender.name if seed is None else f"{contender.name}, seed {seed}"
        arguments = (contender.name, "" if seed is None else str(seed))
        yield Step(layout.run(contender, seed), ("train", *arguments), title, contender)
    for contender, engine in product(plan.contenders, [name for name in plan.engines if name in _OF_FILES]):
        words = ("export", contender.name, engine)
        yield Step(layout.export(contender, engine), words, f"{contender.name} for {engine}", contender)
    for contender, device, engine in product(plan.contenders, devices(), plan.engines):
        part = layout.footprint(contender, device, engine)
        yield Step(
            part, ("footprint", contender.name, device, engine), f"{contender.name} on {device} by {engine}", contender
        )
    yield Step(layout.clock, ("clock",), "all in turns against the clock")
    yield Step(layout.gallery, ("gallery",), "the most disputed images")


class _Progress:
    """Runs steps, one after the other, and tells of them."""

    def __init__(self, layout: Layout, setting: Setting, total: int) -> None:
        self._layout, self._setting, self._total = layout, setting, total

    def run(self, steps: Sequence[Step]) -> Benchmark:
        for number, step in enumerate(steps, 1):
            title = f"[{number}/{self._total}] {step.title}"
            if step.part.is_over or not self._possible(step):
                continue
            say(title)
            started = time.monotonic()
            self._do(step, title)
            say(f"{title}: {step.part.error or 'done'}, {time.monotonic() - started:.0f} s")
            write_benchmark(assemble(self._layout, self._setting), self._layout.path)
        found = assemble(self._layout, self._setting)
        write_benchmark(found, self._layout.path)
        return found

    def _possible(self, step: Step) -> bool:
        """Whether what it needs is there."""
        plan, words = self._setting.plan, step.words
        if words[0] == "train":
            return True
        if step.contender is not None:
            runs = (self._layout.run(step.contender, seed) for seed in step.contender.seeds)
            return any(part.done is not None for part in runs)
        models = scored_models(self._layout, plan)
        return len(models) > 1 if words[0] == "gallery" else bool(models)

    def _do(self, step: Step, title: str) -> None:
        error = run_part(self._layout, step.part, step.words, title)
        # The clock goes on without the model in whose turn it died.
        while error and step.part == self._layout.clock and blame(self._layout, error):
            error = run_part(self._layout, step.part, step.words, title)
        if error:
            step.part.fail(error)


def _begin(layout: Layout, plan: Plan, material: Material) -> Setting:
    """What was known when the folder was made, or is now."""
    file, data = layout.path / _SETTING, facts(material, plan)
    if file.exists():
        stored = json.loads(read_text(file))
        before = DataFacts.model_validate(stored["data"])
        if before.fingerprint != data.fingerprint:
            raise UserError(
                f"{layout.path} holds a benchmark of other data (or {plan.data} has changed since); give another --out"
            )
        return Setting(plan, before, stored["command"], stored["started"])
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    started = datetime.now(UTC).isoformat(timespec="seconds")
    write_plan(plan, layout.path)
    write_text(file, dumps({"data": data.model_dump(), "command": command, "started": started}) + "\n")
    return Setting(plan, data, command, started)


def _require_same_plan(layout: Layout, plan: Plan) -> None:
    if not (layout.path / "plan.toml").exists():
        return
    before, now = read_plan(layout.path).model_dump(), plan.model_dump()
    if other := [name for name in now if before[name] != now[name]]:
        raise UserError(
            f"{layout.path} holds a benchmark of another plan ({', '.join(other)}); give another --out, or go on with "
            f"--plan {layout.path / 'plan.toml'} alone"
        )


def _require_able(plan: Plan, material: Material) -> None:
    """Names, engines, settings, canvas and the classes of weights, before anything is trained. Raises UserError."""
    record, data = get_task(plan.task), material.dataset
    for engine in plan.engines:
        if engine not in ENGINES:
            raise unknown_name("engine", engine, ENGINES)
    for name in plan.models:
        require_model_of(record, name)
    configs = [plan.config_of(plan.contender(name), 0) for name in plan.models]
    if len({config.input for config in configs}) > 1:
        raise UserError("the models would see different bands; give bands and band_range to all of them, or to none")
    for config in configs:
        _require_runs(config, material)
    for path in plan.weights:
        _, card = load_for(record, path, "cpu", "fp32")
        numbered_as(card, data, ())
        if card.exclusive != data.exclusive:
            raise UserError(f"{path}: was trained for one class an image, or several, and {plan.data} has the other")


def _require_runs(config: TrainConfig, material: Material) -> None:
    """Whether the network can be built, and takes the canvas: some are too deep for a small one. Raises UserError."""
    data, channels, side = material.dataset, config.input.channels, config.image_size
    options: dict[str, Any] = {"channels": channels, "exclusive": data.exclusive, "norm": config.norm}
    with torch.random.fork_rng(devices=[]):
        model = create_model(config.model, data.classes, **options).eval()
    model.require_canvas(side)
    try:
        with torch.inference_mode():
            model.predict(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{config.model} can't see a canvas of {side} px ({reason}); try a larger --image-size"
        ) from error
