"""What `benchmark.json` holds: everything that a benchmark found, for whoever makes pages, tables or sentences of it.

Scores are those of `metrics.json`, in [0, 1]; undefined numbers are None. Files are named relative to the folder of the
benchmark, with slashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vision_tasks.engine.run_folder import dumps
from vision_tasks.errors import UserError
from vision_tasks.files import read_text, write_text

FILE = "benchmark.json"
VERSION = 1


class Record(BaseModel):
    """Frozen, and nothing that has no name here."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataFacts(Record):
    """What the models were trained and scored on."""

    name: str  # of the folder, file or card
    format: str
    split: str  # that was scored
    images: int  # of that split
    training_images: int  # after `limit`
    limit: int | None  # training images that were asked for: a subset, stratified, the same for all models and seeds
    classes: tuple[str, ...]
    exclusive: bool  # whether an image has exactly one of the classes
    fingerprint: str  # of classes, splits, sample ids and file sizes


class Machine(Record):
    """Where it ran."""

    devices: dict[str, str]  # "cpu", "cuda" -> in words
    cores: int  # that this process may use
    threads: int  # of torch
    memory_bytes: int | None
    clock_mhz: dict[str, tuple[float, float]]  # device -> before and after the measurements, where it tells
    load: tuple[float, float] | None  # running processes of the whole machine, before and after the measurements
    system: str
    python: str
    versions: dict[str, str]  # of packages


class Training(Record):
    """What a training took."""

    epochs: int  # that were run
    seconds: float  # of its steps, without validation
    images_per_second: float  # over all its epochs
    energy_joules: float | None  # of the whole device meanwhile, validation included; None where nothing tells


class RunRecord(Record):
    """One model with one seed."""

    seed: int | None  # None: weights that were trained elsewhere
    folder: str  # of the run, with `config.toml` and `log.txt`
    metrics: dict[str, Any]  # as metrics.json: scores, their `_ci`, per_class, confusion, curves, errors, reliability
    curve: tuple[dict[str, Any], ...]  # the lines of metrics.jsonl
    training: Training | None  # None: not trained here


class Estimate(Record):
    """A score, the mean over seeds."""

    mean: float | None
    low: float | None  # the 95 % interval over images, corrected for bias; None where the data is too small
    high: float | None
    spread: float | None  # the standard deviation over seeds; None with one seed


class Latency(Record):
    """Milliseconds from an image on its canvas, on the device, to its prediction; batch size 1."""

    p50: float
    p95: float
    p99: float
    runs: int  # that these are percentiles of; below 100, p99 is about the longest


class Throughput(Record):
    """Images per second, from canvases on the device to predictions, at the batch size that was the fastest."""

    images_per_second: float  # the median of rounds
    batch_size: int


class Speed(Record):
    """One model on one device by one engine."""

    device: str  # "cpu" or "cuda"
    engine: str  # "torch", "onnx", ...
    error: str  # why it can't run so; empty if it can
    latency: Latency | None
    throughput: Throughput | None
    decode_to_result: float | None  # images per second, from files to predictions in original pixels
    resident_bytes: int | None  # the largest that a process was that did nothing but load it and predict
    device_bytes: int | None  # the most that its tensors took on a CUDA device


class Cost(Record):
    """What a model costs whoever uses it."""

    parameters: int
    multiply_adds: int  # of one image on the canvas of this benchmark
    file_bytes: int  # of best.safetensors
    speeds: tuple[Speed, ...]


class ModelRecord(Record):
    """One contender."""

    name: str
    family: str
    licence: str  # SPDX, of its code
    weights: str  # what it started from or, if it was not trained here, what it is
    status: Literal["waiting", "done", "failed"]  # waiting: not all of its runs are over
    error: str  # one line: why it failed or, if it did not, why its costs could not be measured; else empty
    runs: tuple[RunRecord, ...]  # those that came to an end, also of one that failed
    quality: dict[str, Estimate]  # by score
    cost: Cost | None


class Pair(Record):
    """Two models on the same images."""

    better: str  # by its mean
    worse: str
    metric: str
    difference: float  # >= 0
    low: float  # the 95 % interval over images, corrected for bias; may reach below 0
    high: float
    p: float  # two-sided, of the paired bootstrap
    p_holm: float  # corrected for all pairs of the benchmark
    seed_error: float | None  # the standard error of the difference over seeds; None unless both have several
    different: bool  # p_holm < 0.05 and, where seeds tell, a difference of more than two of their standard errors


class Judgement(Record):
    """What can be said of all models together; empty until two of them are done."""

    pairs: tuple[Pair, ...]
    ties: tuple[tuple[str, ...], ...]  # groups of models that can't be told apart, the best first; they may overlap
    pareto: dict[str, tuple[str, ...]]  # "latency", "memory" -> models that none is better than in both
    device: str  # whose latency and memory these are: "cpu" or "cuda", by the engine torch
    sentences: tuple[str, ...]  # plain words, the most important first
    remarks: tuple[str, ...]  # what makes the numbers unsure: too few images, classes with one image, one seed


class GalleryImage(Record):
    """An image on which models disagree."""

    image: str  # the sample's id
    disagreement: float  # standard deviation of the models' scores on this image alone
    truth: str  # JPEG file
    predictions: dict[str, str]  # model -> JPEG file
    scores: dict[str, float | None]  # model -> its score on this image alone, the mean over seeds


class Benchmark(Record):
    """All of it."""

    version: Literal[1] = 1
    task: str
    data: DataFacts
    command: str
    started: str  # ISO 8601, UTC
    machine: Machine
    metric: str  # the score that is judged by
    headline: tuple[str, ...]  # scores that people are shown, the judged one among them
    image_size: int  # side of the square canvas, pixels
    budget: str  # "20 epochs", "10 minutes", or "as the recipes say"
    seeds: int
    models: tuple[ModelRecord, ...]  # in the order of the plan
    judgement: Judgement
    gallery: tuple[GalleryImage, ...]  # the most disputed first


def write_benchmark(benchmark: Benchmark, folder: Path) -> None:
    """Replace the folder's record in one step."""
    write_text(folder / FILE, dumps(benchmark.model_dump()) + "\n")


def read_benchmark(folder: Path) -> Benchmark:
    """What `write_benchmark` wrote. Raises UserError."""
    path = folder / FILE
    try:
        return Benchmark.model_validate_json(read_text(path))
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}); run the benchmark again") from error
