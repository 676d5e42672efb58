"""`--engine auto`: which engine is fastest here and says what torch says, measured once for a model and machine."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate, chain, islice, takewhile
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, Generic

import torch

from vision_tasks.data.loader import Loader
from vision_tasks.device import choose_precision, describe, finish
from vision_tasks.download import cache_folder
from vision_tasks.engine.engines import ENGINES, FOLDER, fingerprint, with_engine
from vision_tasks.engine.evaluate import Inference, fitted_plans, to_original
from vision_tasks.engine.progress import say
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.sources import Item, Walk
from vision_tasks.engine.trimmed import canvases_for, parted, trimmed
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.models.agreement import Agreement, agreement, pooled
from vision_tasks.models.backbones import backbone_of
from vision_tasks.models.checkpoint import ModelCard
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import ExportedModel
from vision_tasks.types import Batch, ImageInfo, InputSpec, Sample, Size, T

TOO_FEW = 200  # images: below it, measuring takes longer than it saves
MANY = 5000  # images: from there on, what is faster is worth minutes of getting ready
SAMPLE = 32  # images by which engines are timed
_COMPARED = 128  # images by which they are compared, where these take no more than so many
_SAMPLE_BYTES = 2**28
_SECONDS = 2.0  # that an engine is measured for
_TURNS = 3  # in which these seconds are spent where much depends on little
_CANDIDATES = {"cpu": ("torch", "folded", "onnx", "openvino"), "cuda": ("torch", "folded")}
_BF16 = {"cpu": ("folded-bf16", "openvino-bf16"), "cuda": ("folded-bf16",)}  # where the hardware gains from it
_OF_MANY = {"cpu": ("compile",), "cuda": ("compile", "compile-bf16")}  # compiling takes minutes
_SIZES = (1, 4)  # of batches, beside the one that was asked for
_EDITION = 2  # to be raised when what is measured changes, or how: what was chosen before is forgotten then
_PACKAGES = ("torch", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Measured:
    """What one engine did."""

    engine: str
    rate: float  # images a second
    share: float  # of what torch says
    enough: bool
    batch_size: int = 0  # 0 = the one that was asked for
    trimmed: bool = False  # whether border that no image reaches was cut off

    @property
    def name(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size else ""
        return f"{self.engine}{', trimmed' if self.trimmed else ''}{batch}"

    def line(self, chosen: str) -> str:
        mark = "  chosen" if self.name == chosen else "" if self.enough else "  too different"
        return f"  {self.name:9} {self.rate:8.1f} images/s  {100 * self.share:6.2f} % as torch{mark}"


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """How a call predicts."""

    inference: Inference[T]
    at_once: int = 0  # this and the next as of `predict.Settings`
    canvases: tuple[Size, ...] = ()


def fastest(inference: Inference[T], card: ModelCard, walk: Walk, batch_size: int) -> Chosen[T]:
    """What `auto` comes to for the images of `walk`, of which the first are looked at."""
    if walk.reads_standard_input:
        say("engine: torch; what comes by standard input can't be measured first")
        return Chosen(inference)
    coming = (item for item in walk if isinstance(item, Item))
    items = list(islice(coming, TOO_FEW))
    if len(items) < TOO_FEW:
        say(f"engine: torch; to measure others takes longer than {len(items)} images do")
        return Chosen(inference)
    sample = _sample(items, card.input, batch_size, inference.device)
    return chosen_engine(inference, card, sample, batch_size, many=_are_many(chain(items, coming)))


def _are_many(items: Iterable[Item]) -> bool:
    """Whether that many images wait; frames of videos are not read in order to be counted."""
    lasting = takewhile(lambda item: not item.passing, items)
    return sum(1 for _ in islice(lasting, MANY)) == MANY


def chosen_engine(
    inference: Inference[T], card: ModelCard, batches: Sequence[Batch[T]], batch_size: int, many: bool = False
) -> Chosen[T]:
    """The fastest engine for `batches` of real images that agrees with torch's float32 on them.

    Where `many` images wait, engines that take minutes to get ready are measured, too. The choice is remembered in the
    cache for the model, the machine and the installed releases.
    """
    if why := "no image could be read" if not batches else _only_torch(inference):
        say(f"engine: not measured, {why}")
        return Chosen(inference)
    memory = _memory(inference, card, batch_size, many)
    canvases = _smaller_canvases(inference, card, batches)
    if (best := _remembered(memory)) is not None:
        say(f"engine: {best.name}, as measured before ({memory})")
        return _taken(with_engine(inference, card, best.engine), best, canvases)
    expected = [inference(batch.images) for batch in batches]
    engines = measured(inference, card, batches, expected, _candidates(inference.device, many))
    first, ready = max((pair for pair in engines if pair[0].enough), key=lambda pair: pair[0].rate)
    ways = in_other_batches(first, ready, batches, expected, batch_size, canvases)
    best = max((way for way in ways if way.enough), key=lambda way: way.rate)
    found = [each for each, _ in engines if each is not first] + ways
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_text(memory, json.dumps({"chosen": asdict(best), "measured": list(map(asdict, found))}) + "\n")
    say("\n".join(["engines:", *(each.line(best.name) for each in found)]))
    return _taken(ready, best, canvases)


def measured(
    inference: Inference[T], card: ModelCard, batches: Sequence[Batch[T]], expected: Sequence[T],
    candidates: Sequence[str],
) -> list[tuple[Measured, Inference[T]]]:  # fmt: skip
    """Each of the candidates that is here, compared with what is `expected` of `batches`, and timed by a few of them.

    Torch, which always agrees with itself, comes first.
    """
    few = _first(batches, SAMPLE)
    found = []
    left_out: set[str] = set()
    for name in candidates:
        if name.removesuffix("-bf16") in left_out:  # what can't be, can't be in bfloat16
            continue
        try:
            ready = with_engine(inference, card, name)
        except UserError as reason:
            say(f"engine {name} is left out: {reason}")
            left_out.add(name)
            continue
        told = pooled(agreement(one, ready(batch.images)) for one, batch in zip(expected, batches, strict=True))
        (rate,) = _in_turns(ready, [few], 1)
        found.append((Measured(name, rate, told.share, told.enough), ready))
    return found


def in_other_batches(
    best: Measured, ready: Inference[T], batches: Sequence[Batch[T]], expected: Sequence[T], batch_size: int,
    canvases: Sequence[Size],
) -> list[Measured]:  # fmt: skip
    """The `best` engine with these and with smaller batches, and with those without border."""
    by_image = _by_image(batches, expected)
    takes_long = sum(map(len, batches)) > _SECONDS * best.rate
    timed = _first(batches, SAMPLE) if takes_long else batches
    shapes = {best: timed}
    if canvases:
        shaped = list(trimmed(batches, canvases, batch_size))
        without_border = _compared(replace(best, trimmed=True), by_image, ready, shaped)
        shapes[without_border] = list(trimmed(timed, canvases, batch_size)) if takes_long else shaped
    given = {}
    for size in (0, *(size for size in _SIZES if size < batch_size)):
        for way, whole in shapes.items():
            smaller = list(parted(whole, size or batch_size))
            # Some engines compute a single image by another graph than several.
            told = _compared(way, by_image, ready, smaller) if size == 1 and way.enough else way
            given[replace(told, batch_size=size)] = smaller
    rates = _in_turns(ready, list(given.values()), 1 if takes_long else _TURNS)
    return [replace(way, rate=rate) for way, rate in zip(given, rates, strict=True)]


def _compared(
    way: Measured, expected: Mapping[str, tuple[T, ImageInfo]], ready: Inference[T], shaped: Sequence[Batch[T]]
) -> Measured:
    """`way`, of which is known how far it says what is expected."""
    told = _agreement_by_image(expected, ready, shaped)
    return replace(way, share=told.share, enough=told.enough)


def _agreement_by_image(
    expected: Mapping[str, tuple[T, ImageInfo]], ready: Inference[T], shaped: Sequence[Batch[T]]
) -> Agreement:
    """How far `ready` says of images in other batches what is `expected` of each by its id; in original pixels."""
    return pooled(
        agreement(to_original(*expected[info.id]), to_original(one, info))  # one at a time, for originals may be large
        for batch in shaped
        for one, info in _singly(ready(batch.images), batch)
    )


def _by_image(batches: Sequence[Batch[T]], expected: Sequence[T]) -> dict[str, tuple[T, ImageInfo]]:
    """What is expected of each image, by its id, and the way back from its canvas."""
    each = zip(batches, expected, strict=True)
    return {info.id: (one, info) for batch, predictions in each for one, info in _singly(predictions, batch)}


def _singly(predictions: T, batch: Batch[T]) -> Iterator[tuple[T, ImageInfo]]:
    return ((predictions.image(row), info) for row, info in enumerate(batch.info))


def _taken(ready: Inference[T], best: Measured, canvases: tuple[Size, ...]) -> Chosen[T]:
    return Chosen(ready, best.batch_size, canvases if best.trimmed else ())


def _smaller_canvases(inference: Inference[Any], card: ModelCard, batches: Sequence[Batch[Any]]) -> tuple[Size, ...]:
    """Those that would do; none where a border is part of what a network judges, or all canvases must be one."""
    model = inference.model
    if isinstance(model, Exportable) and not model.decoder.has_places:
        return ()
    return canvases_for([info for batch in batches for info in batch.info], card.input.canvas)


def _sample(items: Sequence[Item], spec: InputSpec, batch_size: int, device: torch.device) -> list[Batch[Any]]:
    """Some of the images, from all over, in batches as `predict` makes them."""
    lasting = [item for item in items if not item.passing]
    count = min(_COMPARED, max(SAMPLE, _SAMPLE_BYTES // (4 * spec.channels * prod(spec.canvas))))
    samples: list[Sample[Any]] = [Reading(item).sample() for item in lasting[:: -(-len(lasting) // count) or 1]]
    plans = fitted_plans(len(samples), spec, batch_size)
    loader = Loader(samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="none", device=device)
    return [replace(batch, failures=()) for batch in loader if len(batch)]


def _first(batches: Sequence[Batch[T]], count: int) -> Sequence[Batch[T]]:
    """So many batches that they hold `count` images, or more."""
    held = list(accumulate(len(batch) for batch in batches))
    return batches[: bisect_left(held, count) + 1]


def _candidates(device: torch.device, many: bool) -> tuple[str, ...]:
    """Those that this device may gain by."""
    if device.type not in _CANDIDATES:
        return ()
    names = _CANDIDATES[device.type] + _BF16[device.type] + (_OF_MANY[device.type] if many else ())
    gains = choose_precision("auto", device) == "bf16"
    return tuple(name for name in names if gains or not name.endswith("bf16"))


def _in_turns(ready: Inference[Any], given: Sequence[Sequence[Batch[Any]]], turns: int) -> list[float]:
    """Images a second of each, the median of its turns: a machine that is shared has slow seconds."""
    for batches in given:
        _get_ready(ready, batches)
    rates = [[_rate(ready, batches, _SECONDS / turns) for batches in given] for _ in range(turns)]
    return [median(each) for each in zip(*rates, strict=True)]


def _get_ready(ready: Inference[Any], batches: Sequence[Batch[Any]]) -> None:
    """A runtime prepares itself for each shape, which takes longer than one image and is not counted."""
    for images in {batch.images.shape: batch.images for batch in batches}.values():
        ready(images)


def _rate(ready: Inference[Any], batches: Sequence[Batch[Any]], least: float) -> float:
    """Images a second, of `least` seconds and of all batches at least once."""
    finish(ready.device)
    done, start = 0, time.perf_counter()
    while True:  # all of them: batches differ in what they cost
        for batch in batches:
            ready(batch.images)
            done += len(batch)
        finish(ready.device)
        if (seconds := time.perf_counter() - start) > least:
            return done / seconds


def _only_torch(inference: Inference[Any]) -> str:
    """Why nothing is measured; empty where it is."""
    if isinstance(inference.model, ExportedModel):
        return "as the exported file has its own"
    if not isinstance(inference.model, Exportable) and backbone_of(inference.model) is None:
        return "for only torch runs this model"
    if inference.device.type not in _CANDIDATES:
        return "for others are measured on CPUs and CUDA only"
    return "" if inference.precision == "fp32" else "for others run in fp32"


def _memory(inference: Inference[Any], card: ModelCard, batch_size: int, many: bool) -> Path:
    place = [platform.machine(), _processor(), describe(inference.device)]
    here = [*place, batch_size, many, _EDITION, *map(_release, _PACKAGES)]
    digest = hashlib.sha256(json.dumps(here).encode()).hexdigest()[:8]
    return cache_folder() / FOLDER / f"{fingerprint(inference.model, card)}-{digest}.json"


def _remembered(memory: Path) -> Measured | None:
    try:
        best = Measured(**json.loads(memory.read_text(encoding="utf-8"))["chosen"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return best if best.engine in ENGINES else None


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
