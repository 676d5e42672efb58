"""The data of a benchmark: opened once, the same images in the same parts for all who are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vision_tasks import luck
from vision_tasks.benchmarking.plan import Plan
from vision_tasks.benchmarking.record import DataFacts
from vision_tasks.commands.datasets import load_dataset
from vision_tasks.data.catalog import pick_split, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.engine.train import TrainingData
from vision_tasks.types import Sample, T

Samples = Sequence[Sample[Any]]


@dataclass(frozen=True)
class Material:
    """A data set in parts."""

    dataset: Dataset[Any]
    train: Samples  # at most `limit` of them, and of the next
    val: Samples
    scored: Samples
    remarks: tuple[str, ...]

    @property
    def training(self) -> TrainingData[Any]:
        """As the engine takes it."""
        data = self.dataset
        return TrainingData(self.train, self.val, data.classes, data.exclusive, data.class_ids, data.flaws)


def open_material(plan: Plan) -> Material:
    """Read the data set; nothing is trained on where only weights are compared. Raises UserError."""
    dataset = load_dataset(plan.task, plan.data, plan.data_format)
    scored = pick_split(dataset, plan.split)
    if not plan.models:
        return Material(dataset, (), (), scored, ())
    training, validation, remarks = train_val(dataset)
    train, val = (stratified(part, plan.limit) for part in (training, validation))
    return Material(dataset, train, val, scored, tuple(remarks))


def stratified(samples: Sequence[Sample[T]], limit: int | None) -> Sequence[Sample[T]]:
    """At most `limit` samples, each stratum's share as in all, drawn by the luck of their ids; in their order.

    So the subset is the same for every model, seed and machine, and a smaller one lies within a larger one.
    """
    if limit is None or limit >= len(samples):
        return samples
    ids = luck.keys(sample.id for sample in samples)
    order = luck.order(0, "benchmark", 0, ids)
    strata = np.array([sample.stratum for sample in samples])
    place = np.empty(len(samples))
    for stratum in np.unique(strata):
        own = order[strata[order] == stratum]
        # Where it would stand if its stratum were spread evenly over all places.
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    rank = np.empty(len(samples), np.int64)
    rank[order] = np.arange(len(samples))
    return [samples[i] for i in sorted(np.lexsort((rank, place))[:limit])]


def facts(material: Material, plan: Plan) -> DataFacts:
    """What the record says of the data."""
    dataset = material.dataset
    return DataFacts(
        name=Path(plan.data).name, format=dataset.format, split=plan.split, images=len(material.scored),
        training_images=len(material.train), limit=plan.limit, classes=dataset.classes, exclusive=dataset.exclusive,
        fingerprint=_fingerprint(material),
    )  # fmt: skip


def _fingerprint(material: Material) -> str:
    """Of the classes, and of each split's ids and file sizes."""
    digest = hashlib.sha256(repr((material.dataset.classes, material.dataset.exclusive)).encode())
    for name, samples in (("train", material.train), ("val", material.val), ("scored", material.scored)):
        digest.update(f"{name} {len(samples)}\n".encode())
        for sample in samples:
            digest.update(f"{sample.id}\n{_size(sample.path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _size(path: Path) -> int:
    """Bytes; -1 for what is no file of its own, as in shards."""
    return path.stat().st_size if path.is_file() else -1
