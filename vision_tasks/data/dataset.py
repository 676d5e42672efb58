"""What a reader makes of a folder or a file: samples in splits, classes, and everything it found wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from vision_tasks.data.flaws import Flaw
from vision_tasks.errors import some
from vision_tasks.types import Sample, T


@dataclass(frozen=True)
class Dataset(Generic[T]):
    """A data set as it lies on disk; images and masks are read later, one by one."""

    root: Path
    format: str
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample[T], ...]]  # by name; the one key "all" where the data has no splits
    flaws: tuple[Flaw, ...] = field(default=())
    exclusive: bool = True  # False: an image may have several of the classes at once, or none
    class_ids: tuple[int, ...] = ()  # what the files call the classes (COCO's category ids); empty = 0, 1, 2, ...
    image_ids: Mapping[str, int] = field(default_factory=dict)  # by sample id, where the files number their images
    negatives: frozenset[str] = frozenset()  # ids of samples with nothing to learn of any class, where reading tells


def in_several_splits(root: Path, splits: Mapping[str, Sequence[Sample[T]]]) -> list[Flaw]:
    """A flaw for each split with images that an earlier one has, too: what is trained on must not be scored."""
    flaws = []
    seen: dict[str, str] = {}  # sample id -> its first split
    for split, samples in splits.items():
        doubles = [sample.id for sample in samples if seen.setdefault(sample.id, split) != split]
        if doubles:
            others = some(sorted({seen[id] for id in doubles}))
            flaws.append(Flaw(root, f"{len(doubles)} images of {split} are in {others} too ({some(doubles)})"))
    return flaws


@dataclass(frozen=True)
class Reader(Generic[T]):
    """One on-disk format: a name, how to recognise it, how to read it."""

    format: str
    looks_like: str  # the layout in a few words, for "none of these formats was recognised" errors
    recognises: Callable[[Path], bool]  # of a folder or a file
    read: Callable[[Path], Dataset[T]]
    of_shards: bool = False  # whether it also takes patterns and URLs, which are no folders or files
