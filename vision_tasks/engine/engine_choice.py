"""`--engine auto`: which engine is fastest here and says what torch says, measured once for a model and machine."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision_tasks.data.loader import Loader
from vision_tasks.download import cache_folder
from vision_tasks.engine.engines import FOLDER, fingerprint, with_engine
from vision_tasks.engine.evaluate import Inference, fitted_plans
from vision_tasks.engine.progress import say
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.sources import Item, Walk
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.models.agreement import agreement
from vision_tasks.models.checkpoint import ModelCard
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import ExportedModel
from vision_tasks.types import InputSpec, Sample, T

TOO_FEW = 200  # images: below it, measuring takes longer than it saves
SAMPLE = 32  # images that are compared
_SECONDS = 2.0  # that an engine is measured for
_CANDIDATES = ("torch", "folded", "onnx", "openvino")  # compiling takes minutes on CPUs: asked for by name only
_PACKAGES = ("torch", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Measured:
    """What one engine did."""

    engine: str
    rate: float  # images a second
    share: float  # of what torch says
    enough: bool

    def line(self, chosen: str) -> str:
        mark = "  chosen" if self.engine == chosen else "" if self.enough else "  too different"
        return f"  {self.engine:9} {self.rate:8.1f} images/s  {100 * self.share:6.2f} % as torch{mark}"


def fastest(inference: Inference[T], card: ModelCard, walk: Walk, batch_size: int) -> Inference[T]:
    """What `auto` comes to for the images of `walk`, of which the first are looked at."""
    if walk.reads_standard_input:
        say("engine: torch; what comes by standard input can't be measured first")
        return inference
    items = [item for item in islice(walk, TOO_FEW) if isinstance(item, Item)]
    if len(items) < TOO_FEW:
        say(f"engine: torch; to measure others takes longer than {len(items)} images do")
        return inference
    return chosen_engine(inference, card, _canvases(items[:SAMPLE], card.input, batch_size, inference.device))


def chosen_engine(inference: Inference[Any], card: ModelCard, canvases: Sequence[Tensor]) -> Inference[Any]:
    """The fastest engine for `canvases`, batches of real images, that agrees with torch's float32 on them.

    The choice is remembered in the cache for the model, the machine and the installed releases.
    """
    if why := "no image could be read" if not canvases else _only_torch(inference):
        say(f"engine: not measured, {why}")
        return inference
    memory = _memory(inference, card)
    if (name := _remembered(memory)) is not None:
        say(f"engine: {name}, as measured before ({memory})")
        return with_engine(inference, card, name)
    found = measured(inference, card, canvases)
    best = max((each for each, _ in found if each.enough), key=lambda each: each.rate)
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_text(memory, json.dumps({"engine": best.engine, "measured": [asdict(each) for each, _ in found]}) + "\n")
    say("\n".join(["engines:", *(each.line(best.engine) for each, _ in found)]))
    return next(ready for each, ready in found if each is best)


def measured(
    inference: Inference[T], card: ModelCard, canvases: Sequence[Tensor]
) -> list[tuple[Measured, Inference[T]]]:
    """Each engine that is here, with what it did; torch, which always agrees with itself, comes first."""
    expected = [inference(images) for images in canvases]
    found = []
    for name in _CANDIDATES:
        try:
            ready = with_engine(inference, card, name)
        except UserError as reason:
            say(f"engine {name} is left out: {reason}")
            continue
        told = [agreement(one, ready(images)) for one, images in zip(expected, canvases, strict=True)]
        weights = [len(images) for images in canvases]
        share = sum(one.share * weight for one, weight in zip(told, weights, strict=True)) / sum(weights)
        found.append((Measured(name, _rate(ready, canvases), share, share >= told[0].least), ready))
    return found


def _canvases(items: Sequence[Item], spec: InputSpec, batch_size: int, device: torch.device) -> list[Tensor]:
    """Batches as `predict` makes them."""
    samples: list[Sample[Any]] = [Reading(item).sample() for item in items if not item.passing]
    plans = fitted_plans(len(samples), spec, batch_size)
    loader = Loader(samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="none", device=device)
    return [batch.images for batch in loader if len(batch)]


def _rate(ready: Inference[Any], canvases: Sequence[Tensor]) -> float:
    """Images a second; it has run once before."""
    done, start = 0, time.perf_counter()
    while True:
        for images in canvases:
            ready(images)
            done += len(images)
            if (seconds := time.perf_counter() - start) > _SECONDS:
                return done / seconds


def _only_torch(inference: Inference[Any]) -> str:
    """Why nothing is measured; empty where it is."""
    if isinstance(inference.model, ExportedModel):
        return "as the exported file has its own"
    if not isinstance(inference.model, Exportable):
        return "for only torch runs this model"
    if inference.device.type != "cpu":
        return "for others are measured on CPUs only"
    return "" if inference.precision == "fp32" else "for others run in fp32"


def _memory(inference: Inference[Any], card: ModelCard) -> Path:
    machine = [platform.machine(), _processor(), torch.get_num_threads(), *map(_release, _PACKAGES)]
    here = hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:8]
    return cache_folder() / FOLDER / f"{fingerprint(inference.model, card)}-{here}.json"


def _remembered(memory: Path) -> str | None:
    try:
        name = json.loads(memory.read_text(encoding="utf-8"))["engine"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if name in _CANDIDATES else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
