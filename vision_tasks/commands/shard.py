"""`vision-tasks data shard PATH --out DIR`: any data set that can be read, as tar shards for `webdataset` and for us.

A sample is `000000012.jpg` (the bytes of its file, untouched; images that lie many in a file become PNGs) and
`000000012.json`, which says its name as "image" and, of whole-image labels and boxes, what they are; with them goes
`000000012.cls` where it has one label, or `000000012.mask.png` (class indices, 255 = ignore). The number is its place
in the data set. What is trained on lies in an order that luck has drawn, so that neighbours are strangers.
`dataset.json` has classes, splits and counts, `train-000000.tar.index.json` says what lies where.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ByteSize, TypeAdapter, ValidationError

from vision_tasks import luck
from vision_tasks.archive import appearing
from vision_tasks.commands.datasets import introduce, load_dataset, require_new, require_outside, tasks_for
from vision_tasks.commands.shard_members import Members, members_of
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.shard_about import ABOUT
from vision_tasks.data.shards.writer import ShardWriter
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.progress import Bar, progress, say
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.types import Sample

_READ_IN_ORDER = ("val", "test")
_AT_ONCE = 64  # samples that are read side by side


def shard_dataset(
    data: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    data_format: str | None = None,
    shard_size: str | int = "256MB",
) -> Path:
    """Write the data set `data` as shards of about `shard_size` bytes into the new folder `out`, which it returns.

    Samples whose file or truth can't be read are left out and named. Raises UserError, and leaves nothing behind, where
    the data can't be read or `task` must say what for, and for a folder that holds something or lies in the data's own.
    """
    most = bytes_in(str(shard_size))
    dataset = load_dataset(task or _only_task(data), data, data_format)
    require_outside(out, dataset.root)
    folder = require_new(out)
    introduce(dataset, ())
    with appearing(folder) as staging:
        writers, left_out = _write(dataset, staging, most)
        shards = {name: (split, count) for split, writer in writers.items() for name, count in writer.samples.items()}
        if not shards:
            raise UserError(f"{dataset.root}: none of its samples can be read, so there is nothing to write")
        write_text(staging / ABOUT, _about(dataset, shards, left_out))
    count = sum(count for _, count in shards.values())
    say(f"{count} samples in {len(shards)} shards, {len(left_out)} left out; wrote {folder}")
    return folder


def bytes_in(text: str) -> int:
    """A number of bytes as people write it: `256MB`, `1 GiB`. Raises UserError for what is none above 0."""
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size < 1:
        raise UserError(f"'{text}' is no number of bytes; write 256MB or 1GB")
    return size


def _only_task(data: str | Path) -> str:
    """The task that the data is for. Raises UserError where more than one could be meant."""
    able = tasks_for(data)
    if len(able) > 1:
        raise UserError(f"{data}: can be read to {' or '.join(able)}; say which by --task")
    return able[0]


def _write(dataset: Dataset[Any], folder: Path, most: int) -> tuple[dict[str, ShardWriter], list[Flaw]]:
    """A writer for each split, which has written it, and what could not be read."""
    writers: dict[str, ShardWriter] = {}
    left_out: list[Flaw] = []
    with progress("writing shards", sum(map(len, dataset.splits.values()))) as bar:
        for split, samples in dataset.splits.items():
            writer = writers[split] = ShardWriter(folder, _prefix(split, len(writers)), most)
            for key, sample, members in _read(split, samples, dataset, bar):
                if isinstance(members, DecodeError):
                    left_out.append(Flaw(sample.path, f"left out, cannot be read: {members}"))
                    say(f"left out, cannot be read: {sample.path}: {members}")
                else:
                    writer.add(key, members)
            writer.close()
    return writers, left_out


def _prefix(split: str, number: int) -> str:
    """What its shards are called, in letters that file systems and URLs take as they are."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", split)
    return plain if plain == split else f"{plain}-{number}"


def _read(
    split: str, samples: Sequence[Sample[Any]], dataset: Dataset[Any], bar: Bar
) -> Iterator[tuple[str, Sample[Any], Members | DecodeError]]:
    """The samples of a split in the order in which they are written, some read side by side."""
    order = range(len(samples)) if split in _READ_IN_ORDER else luck.order(0, "shard", 0, _keys(samples)).tolist()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), _AT_ONCE):
            part = [(number, samples[number]) for number in order[start : start + _AT_ONCE]]
            found = pool.map(partial(_members, dataset), [sample for _, sample in part])
            for (number, sample), members in zip(part, found, strict=True):
                yield f"{number:09}", sample, members
                bar.advance(1)


def _keys(samples: Sequence[Sample[Any]]) -> luck.Keys:
    return luck.keys(sample.id for sample in samples)


def _members(dataset: Dataset[Any], sample: Sample[Any]) -> Members | DecodeError:
    try:
        return members_of(sample, dataset.classes, dataset.image_ids.get(sample.id))
    except DecodeError as error:
        return error


def _about(dataset: Dataset[Any], shards: dict[str, tuple[str, int]], left_out: Sequence[Flaw]) -> str:
    """What the reader must know besides the samples, as JSON."""
    about = {
        "made_by": "vision-tasks data shard",
        "classes": dataset.classes,
        "class_ids": dataset.class_ids,
        "exclusive": dataset.exclusive,
        "shards": {name: {"split": split, "samples": count} for name, (split, count) in shards.items()},
        "flaws": [
            [_below(str(flaw.path), dataset.root), _below(flaw.what, dataset.root), flaw.of_truth]
            for flaw in (*dataset.flaws, *left_out)
        ],
    }
    return json.dumps(about, indent=1) + "\n"


def _below(text: str, root: Path) -> str:
    """Paths in `text` without what names this machine."""
    return text.replace(f"{root.parent}{os.sep}", "")
