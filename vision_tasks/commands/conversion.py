"""What every target of a conversion shares: images by their new names, what could not be taken along, run lengths."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.header import bytes_of
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.doctor.header import read_header
from vision_tasks.types import Sample, Size

WHOLE = "all"


@dataclass(frozen=True)
class Item:
    """One image and its truth, under the name that it gets."""

    sample: Sample[Any]
    name: str  # a file name, unique where the target needs that
    size: Size

    @property
    def truth(self) -> Any:
        """B = 1, in original pixels; read each time, for masks of a whole data set would fill the memory."""
        return self.sample.truth(self.size)


class Losses:
    """Counts what the target can't hold, or was left out, by the words for it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, what: str, count: int = 1) -> None:
        if count:
            self.counts[what] += count

    def as_text(self) -> list[str]:
        """A line for each kind, the most frequent first."""
        return [f"{what}: {count}" for what, count in self.counts.most_common()]


@dataclass(frozen=True)
class Conversion:
    """What a target writes from."""

    dataset: Dataset[Any]
    splits: Mapping[str, Sequence[Item]]
    losses: Losses
    copy: bool  # whether images are copied, or linked to

    def place(self, item: Item, folder: Path) -> None:
        """Put an image into `folder` under its name, as it is."""
        path = folder / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.sample.data is not None:
            path.write_bytes(item.sample.data())
        elif self.copy:
            shutil.copyfile(item.sample.path, path)
        else:
            path.symlink_to(item.sample.path.resolve())

    def items(self) -> Iterator[Item]:
        """All images; one that several splits have, once."""
        seen: set[str] = set()
        for items in self.splits.values():
            for item in items:
                if item.sample.id not in seen:
                    seen.add(item.sample.id)
                    yield item


def collect(
    dataset: Dataset[Any], copy: bool, together: bool, done: Callable[[int], None]
) -> tuple[Conversion, list[str]]:
    """Everything there is to write, and a line for each image that can't be read, which is left out.

    Names are unique within a split, or where all images lie `together` among all. `done` is told of each image.
    """
    splits: dict[str, list[Item]] = {}
    problems: list[str] = []
    every = [sample for samples in dataset.splits.values() for sample in samples]
    for split, samples in dataset.splits.items():
        names = new_names(every if together else samples)
        splits[split] = []
        for sample in samples:
            try:
                size = read_header(bytes_of(sample)).size
                sample.truth(size)
                splits[split].append(Item(sample, names[sample.id], size))
            except (DecodeError, OSError) as error:
                problems.append(f"{sample.path}: {error}")
            done(1)
    return Conversion(dataset, splits, Losses(), copy), problems


def new_names(samples: Iterable[Sample[Any]]) -> dict[str, str]:
    """A file name for each sample, by id: its own where no other shares it but for its suffix, else its whole path."""
    ids = list(dict.fromkeys(sample.id for sample in samples))
    stems = Counter(_stem(PurePosixPath(id).name) for id in ids)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for id in ids:
        own = PurePosixPath(id).name
        name = _plain(own if stems[_stem(own)] == 1 else id.replace("/", "_"))
        while _stem(name) in taken:
            name = f"_{name}"
        taken.add(_stem(name))
        names[id] = name
    return names


def _plain(name: str) -> str:
    return "_".join(name.split())  # lists of names are cut at white space


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()  # noqa: PTH122  # pathlib makes "." of "..jpg"


def stem_of(name: str) -> str:
    """A file's name without its suffix, by which labels are found."""
    return os.path.splitext(name)[0]  # noqa: PTH122


def run_lengths(inside: NDArray[np.bool_]) -> list[int]:
    """Pixels [H,W] as COCO's uncompressed run lengths: outside and inside in turn, down the columns."""
    flat = np.concatenate([[False], inside.T.ravel(), [not inside.T.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(length) for length in np.diff(ends, prepend=0)]
