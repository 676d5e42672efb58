"""What a model weighs: parameters, operations, bytes on disk and in memory, and the batch size at which it is fastest.

In a process of its own, which does nothing before but load the model and predict image by image: only so is the largest
size of the process the model's. Whatever makes it fail fails here, before any clock runs.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.material import open_material
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.benchmarking.subject import Subject, repeated
from vision_tasks.device import is_out_of_memory
from vision_tasks.models.summary import summarise

_ALONE = 3  # predictions before the size of the process is read
_LARGEST = 64  # batch
_ENOUGH = 0.5  # seconds of a batch size
_TOO_LONG = 4.0  # seconds of one batch, beyond which no larger one is tried
_BETTER = 1.03  # a larger batch must be faster by so much, for it also takes more memory


class Footprint(BaseModel):
    """What the process found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # the model's, in the registry
    weights_licence: str
    code_licence: str
    parameters: int
    multiply_adds: int
    file_bytes: int
    resident_bytes: int
    device_bytes: int | None
    batch_size: int


def measure_footprint(layout: Layout, plan: Plan, contender: Contender, device: str, engine: str) -> None:
    """Write the part of a contender on "cpu" or "cuda" by an engine."""
    samples = open_material(plan).scored
    subject = Subject.load(layout, plan, contender, device, engine, samples)
    images = subject.canvases()
    for i in range(_ALONE):
        subject.seconds(images[i % len(images)][None])
    on_device = torch.accelerator.max_memory_allocated() if device != "cpu" else None
    resident = peak_resident_bytes()
    batch_size = fastest_batch(subject, images)
    card = subject.card
    plain = Subject.load(layout, plan, contender, "cpu", "torch", samples).inference.model
    summary = summarise(plain, card.input.canvas[0])
    layout.footprint(contender, device, engine).finish(
        Footprint(
            name=card.name, weights_licence=card.weights_licence, code_licence=card.code_licence,
            parameters=summary.parameters, multiply_adds=summary.multiply_adds, file_bytes=subject.file_bytes,
            resident_bytes=resident, device_bytes=on_device, batch_size=batch_size,
        ).model_dump()
    )  # fmt: skip


def fastest_batch(subject: Subject, images: Tensor) -> int:
    """1, 2, 4, ... up to 64: the one with the most images a second, of nearly equal ones the smallest."""
    best, rate, size = 1, 0.0, 1
    while size <= _LARGEST:
        try:
            batch = repeated(images, size)
            first = subject.seconds(batch)  # warms up
            taken = [subject.seconds(batch)]
            while sum(taken) < _ENOUGH:
                taken.append(subject.seconds(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        found = size / min(taken)
        if found > _BETTER * rate:
            best, rate = size, found
        if max(first, taken[0]) > _TOO_LONG or found < rate / 2:
            break
        size *= 2
    return best


def peak_resident_bytes() -> int:
    """The most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # The usual call counts, on Linux, also what the parent had when it made this process.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
