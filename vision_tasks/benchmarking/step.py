"""What a process of a benchmark can do, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vision_tasks.benchmarking.clock import take_times
from vision_tasks.benchmarking.footprint import measure_footprint
from vision_tasks.benchmarking.gallery import draw_gallery
from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.machine import devices
from vision_tasks.benchmarking.plan import Plan
from vision_tasks.benchmarking.subject import Subject
from vision_tasks.benchmarking.train import train_and_score


def _train(layout: Layout, plan: Plan, name: str, seed: str) -> None:
    train_and_score(layout, plan, plan.contender(name), int(seed) if seed else None)


def _footprint(layout: Layout, plan: Plan, name: str, device: str, engine: str) -> None:
    measure_footprint(layout, plan, plan.contender(name), device, engine)


def _export(layout: Layout, plan: Plan, name: str, engine: str) -> None:
    contender = plan.contender(name)
    Subject.load(layout, plan, contender, "cpu", engine, ())
    layout.export(contender, engine).finish({})


def _clock(layout: Layout, plan: Plan) -> None:
    take_times(layout, plan, devices())


KINDS: Mapping[str, Callable[..., None]] = {
    "train": _train,
    "export": _export,
    "footprint": _footprint,
    "clock": _clock,
    "gallery": draw_gallery,
}
