"""Opens a data set, whatever its format, and takes its splits, making those that it lacks.

Data without splits is cut 80/10/10 into train, val and test, a train split without val gives 10 % of itself. A
file without its folder that is one split is cut alike for training, but scored whole. A sample's place depends on the
luck of its id among those of its stratum (the class, for whole-image labels), so it is the same every time and on every
machine, and another class's images don't move it. What is cut is always said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from vision_tasks import luck
from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.folders import split_name
from vision_tasks.data.shards.names import is_name_of_shards
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.types import Sample, T

Splits = Mapping[str, tuple[Sample[T], ...]]

_ALL = "all"
_SCORED = "test"  # what is scored unless something else is asked for
_WITHOUT_SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
_WITHOUT_VAL = {"train": 0.9, "val": 0.1}


def open_dataset(path: Path, readers: Sequence[Reader[T]], data_format: str | None = None) -> Dataset[T]:
    """The data set in `path`, by the first of `readers` that recognises it or by the one named `data_format`.

    `path` is a folder, or a file where a reader takes files, or a pattern or URL of shards. Raises UserError if it is
    missing, empty or of none of the formats, and what the reader raises.
    """
    elsewhere = not path.exists() and is_name_of_shards(path)
    if not elsewhere:
        _check_path(path)
    by_name = {reader.format: reader for reader in readers}
    if data_format is not None and data_format not in by_name:
        raise unknown_name("data format", data_format, by_name)
    candidates = readers if data_format is None else [by_name[data_format]]
    for reader in candidates:
        if (reader.of_shards or not elsewhere) and reader.recognises(path):
            return reader.read(path)
    if path.is_file():
        raise UserError(f"{path}: is a file; --data takes the data set's folder")
    layouts = "; ".join(f"{reader.format}: {reader.looks_like}" for reader in candidates)
    raise UserError(f"{path}: is not laid out in a way that is known here; expected {layouts}")


def _check_path(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; check --data")
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"{path}: the folder is empty; check --data")


def pick_split(dataset: Dataset[T], split: str, seed: int = 0) -> tuple[Sample[T], ...]:
    """The samples of `split`, in the data set's order; `all` is every image, `valid` and `validation` are `val`.

    Of a file that is one split, `test` is every image, too.
    Raises UserError, which lists the splits there are, for one that isn't there and isn't made (see `complete_splits`).
    """
    whole = _is_whole(dataset)
    if whole and (split_name(split) or split) not in (*dataset.splits, _ALL, _SCORED):
        raise UserError(
            f"{dataset.root}: has no split '{split}'; the file is one split, scored whole (leave --split out), while "
            "its folder as --data would be cut"
        )
    if whole or split == _ALL:
        return tuple({sample.id: sample for part in dataset.splits.values() for sample in part}.values())
    splits, _ = complete_splits(dataset, seed)
    name = split if split in splits else split_name(split) or split
    if name not in splits:
        raise UserError(f"{dataset.root}: has no split '{split}'; it has {', '.join(splits)}, and 'all' takes them all")
    if not splits[name]:
        raise UserError(f"{dataset.root}: split '{name}' has no images")
    return splits[name]


def split_remarks(dataset: Dataset[T], split: str, seed: int = 0) -> list[str]:
    """What the user must be told about where `pick_split` takes the samples of `split` from, and about their truth."""
    return [*_origin(dataset, split, seed), *_mended_truth(dataset)]


def _mended_truth(dataset: Dataset[T]) -> list[str]:
    mended = [flaw for flaw in dataset.flaws if flaw.of_truth]
    where = some(map(str, dict.fromkeys(flaw.path.name for flaw in mended)))
    said = f"{len(mended)} annotations were dropped or clipped ({where}): scores of the files as they are may differ"
    return [said] if mended else []


def _origin(dataset: Dataset[T], split: str, seed: int) -> list[str]:
    if split in (*dataset.splits, _ALL):
        return []
    if _is_whole(dataset):
        (samples,) = dataset.splits.values()
        return [f"{dataset.root.name} is one split: all of its {len(samples)} images are taken as '{split}'"]
    return complete_splits(dataset, seed)[1]


def _is_whole(dataset: Dataset[T]) -> bool:
    """Whether the data set is a file that is one split."""
    return dataset.root.is_file() and len(dataset.splits) == 1


def train_val(dataset: Dataset[T], seed: int = 0) -> tuple[tuple[Sample[T], ...], tuple[Sample[T], ...], list[str]]:
    """What to train on, what to validate on, and what the user must be told about where they come from.

    Raises UserError if there is nothing to train or to validate on, and where nothing is annotated in what is trained
    on: a model that learns from empty images alone has a fine loss and finds nothing.
    """
    splits, said = complete_splits(dataset, seed)
    name = _training_split(splits)
    if name is None:
        raise UserError(f"{dataset.root}: has no split 'train' to train on; it has {', '.join(splits)}")
    for part in (name, "val"):
        if not splits[part]:
            raise UserError(f"{dataset.root}: split '{part}' has no images, so nothing can be trained")
    if dataset.negatives.issuperset(sample.id for sample in splits[name]):
        raise _nothing_annotated(dataset, name, len(splits[name]))
    return splits[name], splits["val"], said


def _nothing_annotated(dataset: Dataset[T], split: str, count: int) -> UserError:
    flaws = dataset.flaws
    found = f"; the first of {len(flaws)} flaws: {flaws[0].path}: {flaws[0].what}" if flaws else ""
    return UserError(
        f"{dataset.root}: nothing usable is annotated in the {count} images of '{split}', so nothing can be "
        f"learned; mend the annotations{found}"
    )


def complete_splits(dataset: Dataset[T], seed: int = 0) -> tuple[Splits[T], list[str]]:
    """The data set's splits with those made that it lacks, and a sentence for each decision."""
    if set(dataset.splits) == {_ALL}:
        made, small = _cut(dataset.splits[_ALL], _WITHOUT_SPLITS, seed)
        counts = ", ".join(f"{name} {len(samples)}" for name, samples in made.items())
        return made, [f"{dataset.root.name} has no splits: cut by its sample ids into {counts} images", *small]
    source = _training_split(dataset.splits)
    if source is None or "val" in dataset.splits:
        return dataset.splits, []
    made, small = _cut(dataset.splits[source], _WITHOUT_VAL, seed)
    said = f"{dataset.root.name} has no val split: {len(made['val'])} of the {len(dataset.splits[source])} {source} "
    splits = {**dataset.splits, source: made["train"], "val": made["val"]}
    return splits, [said + "images are held out as val, by their sample ids", *small]


def _training_split(splits: Splits[T]) -> str | None:
    return next((name for name in ("train", "trainval") if name in splits), None)


def _cut(samples: Sequence[Sample[T]], shares: Mapping[str, float], seed: int) -> tuple[Splits[T], list[str]]:
    """Each split's samples, in their order in `samples`, and a sentence about strata too small for every split."""
    strata: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        strata.setdefault(sample.stratum, []).append(position)
    taken: dict[str, list[int]] = {name: [] for name in shares}
    small = []
    for stratum, positions in strata.items():
        ids = luck.keys(samples[position].id for position in positions)
        ordered = [positions[i] for i in luck.order(seed, "split", 0, ids)]
        borders = _borders(stratum, len(ordered), list(shares.values()), seed)
        for name, (start, end) in zip(shares, pairwise(borders), strict=True):
            taken[name] += ordered[start:end]
        if stratum and 0 in np.diff(borders):
            small.append(stratum)
    _fill_empty(taken, [sample.stratum for sample in samples])
    others = " or ".join(name for name in shares if name != "train")
    said = f"{some(small)}: so few images that {others} got none of them (train keeps one of each at least)"
    splits = {name: tuple(samples[position] for position in sorted(positions)) for name, positions in taken.items()}
    return splits, [said] if small else []


def _borders(stratum: str, count: int, shares: Sequence[float], seed: int) -> list[int]:
    """Where a stratum of `count` is cut, the ends included; the first part is never empty.

    Fractions are rounded by the luck of the stratum's name. Were they always rounded alike, a data set with a hundred
    classes of five images would get an empty val.
    """
    draw = luck.uniform(seed, "split", 0, luck.keys([stratum]), 1).item()
    ends = np.floor(np.cumsum(shares)[:-1] * count + draw + 1e-9).astype(int)
    return [0, *np.clip(ends, 1, count).tolist(), count]


def _fill_empty(taken: dict[str, list[int]], stratum: Sequence[str]) -> None:
    """A split that got nothing, in a tiny data set, takes one image from train, where that has another of the kind."""
    for positions in taken.values():
        counts = Counter(stratum[position] for position in taken["train"])
        spare = [position for position in taken["train"] if counts[stratum[position]] > 1]
        if not positions and spare:
            taken["train"].remove(spare[-1])
            positions.append(spare[-1])
