"""All times, taken in turns: a machine's speed drifts, and nobody shall gain by who ran first.

One process loads one model after the other, warms it up and times it for seconds, then the next one; when all had
their turn, another round begins, in the other direction. So every model is timed in every phase of the machine, by the
same process on the same cores, while memory holds one model at a time. (A process for each turn would spend most of its
time on imports; what needs one, the size in memory, is measured in `footprint.py`.) Each turn is stored when it is
over, so a benchmark that was stopped goes on with the next; and a turn in which the process dies is not tried again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import torch

from vision_tasks.benchmarking.footprint import Footprint
from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.machine import clocks, load
from vision_tasks.benchmarking.material import Samples, open_material
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.benchmarking.record import Latency, Throughput
from vision_tasks.benchmarking.subject import Subject, repeated
from vision_tasks.device import finish
from vision_tasks.engine.progress import say
from vision_tasks.engine.run_folder import dumps
from vision_tasks.files import append_text, read_lines, read_text, write_text

ROUNDS = 5
_WARM = 3  # predictions that are not counted
_RUNS, _FEWEST, _SECONDS = 40, 5, 2.0  # of latency in a turn: most runs, fewest, and about how long
_BATCH_SECONDS = 1.0  # of throughput in a turn, and about as long from files


@dataclass(frozen=True)
class Turn:
    """Who has it."""

    contender: Contender
    device: str
    engine: str
    round: int

    @property
    def key(self) -> str:
        """Equal in all rounds."""
        return f"{self.contender.name} {self.device} {self.engine}"


def turns(layout: Layout, plan: Plan, devices: Sequence[str]) -> list[Turn]:
    """All in their order, of those whose footprint is known."""
    found: list[Turn] = []
    for number in range(ROUNDS):
        those = [
            Turn(contender, device, engine, number)
            for contender, device, engine in product(plan.contenders, devices, plan.engines)
            if layout.footprint(contender, device, engine).done is not None
        ]
        found += those if number % 2 == 0 else reversed(those)
    return found


def take_times(layout: Layout, plan: Plan, devices: Sequence[str]) -> None:
    """Every turn that is not over, into `turns.jsonl`; then the clock's part is done."""
    part = layout.clock
    file, now = part.folder / "turns.jsonl", part.folder / "now.json"
    before = clocks(), load()
    samples = open_material(plan).scored
    known = read_turns(layout)
    over = {(line["key"], line["round"]) for line in known}
    broken = {line["key"] for line in known if "error" in line}
    waiting = [turn for turn in turns(layout, plan, devices) if (turn.key, turn.round) not in over]
    for number, turn in enumerate(waiting, 1):
        if turn.key in broken:
            continue
        write_text(now, dumps({"key": turn.key, "round": turn.round}))
        found = _timed(layout, plan, turn, samples)
        append_text(file, dumps(found) + "\n")
        broken |= {turn.key} if "error" in found else set()
        say(f"clock: {number} of {len(waiting)}: {turn.key}, round {turn.round + 1} of {ROUNDS}")
    now.unlink(missing_ok=True)
    part.finish({"clocks": [before[0], clocks()], "load": [before[1], load()]})


def blame(layout: Layout, error: str) -> bool:
    """The process died in its turn: whose it was has no more; False if it was nobody's."""
    now = layout.clock.folder / "now.json"
    if not now.exists():
        return False
    append_text(layout.clock.folder / "turns.jsonl", dumps(json.loads(read_text(now)) | {"error": error}) + "\n")
    now.unlink()
    return True


def read_turns(layout: Layout) -> list[dict[str, Any]]:
    """Those that are over."""
    return read_lines(layout.clock.folder / "turns.jsonl")


def _timed(layout: Layout, plan: Plan, turn: Turn, samples: Samples) -> dict[str, Any]:
    contender, device, engine = turn.contender, turn.device, turn.engine
    found: dict[str, Any] = {"key": turn.key, "round": turn.round}
    try:
        batch_size = Footprint.model_validate(layout.footprint(contender, device, engine).done).batch_size
        subject = Subject.load(layout, plan, contender, device, engine, samples)
        return found | _times(subject, batch_size)
    except Exception as error:  # of any library: the others' turns go on
        return found | {"error": (str(error).strip() or type(error).__name__).splitlines()[-1]}


def _times(subject: Subject, batch_size: int) -> dict[str, Any]:
    images = subject.canvases()
    single = [image[None].contiguous(memory_format=torch.channels_last) for image in images]
    for i in range(_WARM):
        subject.seconds(single[i % len(single)])
    alone: list[float] = []
    while len(alone) < _FEWEST or (len(alone) < _RUNS and sum(alone) < _SECONDS):
        alone.append(subject.seconds(single[len(alone) % len(single)]))
    batch = repeated(images, batch_size)
    together = [subject.seconds(batch)]  # warms up
    while sum(together[1:]) < _BATCH_SECONDS:
        together.append(subject.seconds(batch))
    rate = batch_size * len(together[1:]) / sum(together[1:])
    return {"seconds": alone, "rate": rate, "batch_size": batch_size, "from_files": _from_files(subject, rate)}


def _from_files(subject: Subject, rate: float) -> float:
    """Images a second."""
    count = min(len(subject.samples), max(16, round(rate * _BATCH_SECONDS)))
    size = min(16, count)
    subject.decode_and_predict(size, size)  # warms up
    started = time.perf_counter()
    done = subject.decode_and_predict(count, size)
    finish(subject.inference.device)
    return done / (time.perf_counter() - started)


def latency(lines: Sequence[dict[str, Any]]) -> Latency | None:
    """Percentiles over the runs of all rounds; None without any."""
    milliseconds = 1e3 * np.array([each for line in lines for each in line.get("seconds", ())])
    if not len(milliseconds):
        return None
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99)).tolist()
    return Latency(p50=p50, p95=p95, p99=p99, runs=len(milliseconds))


def throughput(lines: Sequence[dict[str, Any]]) -> Throughput | None:
    """The median of rounds; None without any."""
    timed = [line for line in lines if "rate" in line]
    if not timed:
        return None
    return Throughput(images_per_second=median(line["rate"] for line in timed), batch_size=timed[0]["batch_size"])


def from_files(lines: Sequence[dict[str, Any]]) -> float | None:
    """The median of rounds; None without any."""
    rates = [line["from_files"] for line in lines if "from_files" in line]
    return median(rates) if rates else None
