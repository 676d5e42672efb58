"""A model as it is measured: loaded on a device with an engine, and real images of the benchmark for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.material import Samples
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.commands.given import load_for
from vision_tasks.data.loader import Loader
from vision_tasks.device import finish
from vision_tasks.engine.engines import with_engine
from vision_tasks.engine.evaluate import Inference, fitted_plans, in_original_pixels
from vision_tasks.models.checkpoint import ModelCard
from vision_tasks.models.weights import resolve
from vision_tasks.tasks import get_task

POOL = 16  # images that are predicted again and again


@dataclass(frozen=True)
class Subject:
    """One contender on one device by one engine."""

    inference: Inference[Any]
    card: ModelCard
    file_bytes: int
    samples: Samples

    @classmethod
    def load(
        cls, layout: Layout, plan: Plan, contender: Contender, device: str, engine: str, samples: Samples
    ) -> Subject:
        """Raises UserError where the engine can't run the model, or not there."""
        checkpoint = layout.checkpoint(contender)
        file = resolve(checkpoint).file
        inference, card = load_for(get_task(plan.task), checkpoint, device, "fp32")
        size = file.stat().st_size if file else 0
        return cls(with_engine(inference, card, engine), card, size, samples)

    def canvases(self) -> Tensor:
        """The first readable images [n,C,S,S] on the device, n at most `POOL`."""
        batches = self._batches(self.samples[: 4 * POOL], POOL)
        return torch.cat([batch.images for batch in islice(batches, 1 + 3) if len(batch)])[:POOL]

    def decode_and_predict(self, count: int, batch_size: int) -> int:
        """From files to predictions in original pixels, of the first `count` images; returns how many were read."""
        done = 0
        for batch in self._batches(self.samples[:count], batch_size):
            if len(batch):
                done += sum(1 for _ in in_original_pixels(self.inference(batch.images), batch))
        return done

    def seconds(self, images: Tensor) -> float:
        """How long one prediction takes, until the device has it done."""
        started = time.perf_counter()
        with torch.inference_mode():
            self.inference(images)
        finish(self.inference.device)
        return time.perf_counter() - started

    def _batches(self, samples: Samples, batch_size: int) -> Loader[Any]:
        spec = self.card.input
        plans = fitted_plans(len(samples), spec, batch_size)
        return Loader(samples, plans, spec.canvas, spec.canvas, spec.bands, truth="none", device=self.inference.device)


def repeated(images: Tensor, count: int) -> Tensor:
    """A batch [count,C,S,S] of the images of a pool, again and again."""
    return images[torch.arange(count) % len(images)].contiguous(memory_format=torch.channels_last)
