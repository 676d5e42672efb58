"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky: Learning multiple layers of features from tiny images).

A record is the label (CIFAR-100: the coarse label, then the fine one, which is the class) and 32x32 pixels, all red
ones first, then green, then blue. CIFAR-10 has `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` with names
in `batches.meta.txt`, CIFAR-100 `train.bin` and `test.bin` with names in `fine_label_names.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.class_names import read_lines, require_classes, require_images
from vision_tasks.data.readers.packed import PackedImages, packed_samples
from vision_tasks.errors import UserError, some
from vision_tasks.types import Labels, Sample

_SIDE = 32


@dataclass(frozen=True)
class _Layout:
    """One of the two data sets."""

    names: str
    files: dict[str, tuple[str, ...]]  # by split
    label_bytes: int  # the last one of them is the class

    @property
    def record(self) -> int:
        return self.label_bytes + 3 * _SIDE * _SIDE


_LAYOUTS = (
    _Layout(
        "batches.meta.txt",
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        1,
    ),
    _Layout("fine_label_names.txt", {"train": ("train.bin",), "test": ("test.bin",)}, 2),
)


def _recognises(root: Path) -> bool:
    return _layout(root) is not None


def _layout(root: Path) -> _Layout | None:
    for layout in _LAYOUTS:
        names = [name for part in layout.files.values() for name in part]
        if (root / layout.names).is_file() and any((root / name).is_file() for name in names):
            return layout
    return None


def _read(root: Path) -> Dataset[Labels]:
    layout = _layout(root)
    assert layout is not None
    classes = tuple(read_lines(root / layout.names))
    require_classes(root / layout.names, classes)
    splits: dict[str, tuple[Sample[Labels], ...]] = {}
    flaws = []
    for split, names in layout.files.items():
        there = [root / name for name in names if (root / name).is_file()]
        if missing := [name for name in names if root / name not in there]:
            flaws.append(Flaw(root, f"{some(missing)} of {split} is missing: {len(there)} of its files are read"))
        samples: list[Sample[Labels]] = []
        for path in there:
            samples += _samples(split, path, layout, classes, len(samples))
        if there:
            splits[split] = tuple(samples)
    if "train" in splits:
        require_images(root, classes, {sample.stratum for sample in splits["train"]})
    return Dataset(root, READER.format, classes, splits, tuple(flaws))


def _samples(
    split: str, path: Path, layout: _Layout, classes: tuple[str, ...], start: int
) -> tuple[Sample[Labels], ...]:
    size = path.stat().st_size
    if size == 0 or size % layout.record:
        raise UserError(
            f"{path}: has {size} bytes, which is no multiple of the {layout.record} of an image; get it again"
        )
    labels = _records(path, layout)[:, layout.label_bytes - 1].tolist()
    wrong = [i for i, label in enumerate(labels) if label >= len(classes)]
    if wrong:
        raise UserError(
            f"{path}: image {wrong[0]} has the label {labels[wrong[0]]}, but {layout.names} names {len(classes)} "
            "classes; replace one of them"
        )
    return packed_samples(split, PackedImages(path, partial(_read_images, path, layout)), labels, classes, start)


def _records(path: Path, layout: _Layout) -> NDArray[np.uint8]:
    """[N, bytes of a record], mapped: only what is used is read."""
    return np.memmap(path, np.uint8, "r").reshape(-1, layout.record)


def _read_images(path: Path, layout: _Layout) -> NDArray[np.uint8]:
    planes = np.fromfile(path, np.uint8).reshape(-1, layout.record)[:, layout.label_bytes :]
    return planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)


READER: Reader[Labels] = Reader(
    format="cifar-binary",
    looks_like="data_batch_1.bin to test_batch.bin with batches.meta.txt, or train.bin, test.bin, fine_label_names.txt",
    recognises=_recognises,
    read=_read,
)
