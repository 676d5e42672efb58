"""Grey images as MNIST has them: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`, as they are or .gz.

Fashion-MNIST, KMNIST and EMNIST have the same files. A name may have dots for hyphens (`train-images.idx3-ubyte`) and
start with that of its data set (`emnist-letters-train-...`); of a file and its .gz the first is read.

IDX (LeCun, Cortes, Burges: The MNIST database, section "File formats") is big-endian: two zero bytes, the number type
(8 is unsigned byte), the number of dimensions, the size of each as 32 bits, the values.

- Class names come from `classes.txt` (a name a line, or `0 T-shirt` with the label before it), from EMNIST's own
  mapping (labels and character codes), or are the labels as they are, "0" to "9".
- EMNIST stores its characters lying (columns first): they are turned upright.
- Headers and labels are read when the data set is opened, images when the first of them is asked for.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.folders import files, in_order
from vision_tasks.data.limits import most_bytes
from vision_tasks.data.readers.class_names import numbered, read_lines, require_classes, require_images
from vision_tasks.data.readers.packed import PackedImages, packed_samples
from vision_tasks.errors import UserError, some
from vision_tasks.types import Labels

_NAME = re.compile(r"(.*?)(train|t10k|test)[-.](images|labels)[-.]idx([13])[-.]ubyte(\.gz)?", re.IGNORECASE)
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_UNSIGNED_BYTE = 8
_MOST_DEFLATE_SAVES = 1032  # times; a property of the method


@dataclass(frozen=True)
class _Files:
    """The files of one split."""

    images: Path
    labels: Path
    columns_first: bool


def _recognises(root: Path) -> bool:
    return root.is_dir() and any(_NAME.fullmatch(name) for name in files(root))


def _read(root: Path) -> Dataset[Labels]:
    found = _find(root)
    labels = {split: _read_idx(part.labels, 1) for split, part in found.items()}
    names = _class_names(root, labels)
    number = {value: i for i, value in enumerate(names)}
    classes = tuple(names.values())
    splits = {}
    for split, part in in_order(found).items():
        shape = _read_shape(part.images, 3)
        if shape[0] != len(labels[split]):
            raise UserError(
                f"{part.labels}: has {len(labels[split])} labels for the {shape[0]} images in {part.images.name}; they "
                "don't belong together, so replace one of them"
            )
        images = PackedImages(part.images, partial(_read_images, part))
        splits[split] = packed_samples(split, images, [number[label] for label in labels[split].tolist()], classes)
    return Dataset(root, READER.format, classes, splits)


def _find(root: Path) -> dict[str, _Files]:
    """The files of each split."""
    found: dict[tuple[str, str], Path] = {}
    sets = set()
    for name in files(root):  # sorted: a file comes before its .gz
        if match := _NAME.fullmatch(name):
            sets.add(match[1])
            found.setdefault((_SPLITS[match[2].lower()], match[3].lower()), root / name)
    if len(sets) > 1:
        raise UserError(f"{root}: holds more than one data set ({', '.join(sorted(sets))}); give each its own folder")
    for split, kind in list(found):
        other = "labels" if kind == "images" else "images"
        if (split, other) not in found:
            raise UserError(f"{found[split, kind]}: has no file of {other} beside it; add it")
    turned = sets.pop().lower().startswith("emnist")
    return {split: _Files(found[split, "images"], found[split, "labels"], turned) for split, _ in found}


def _class_names(root: Path, labels: Mapping[str, NDArray[np.uint8]]) -> dict[int, str]:
    """The name of each label, in their order."""
    seen = {split: set(np.unique(values).tolist()) for split, values in labels.items()}
    every = sorted(set().union(*seen.values()))
    own, mapping = root / "classes.txt", _mapping(root)
    path = own if own.is_file() else mapping
    names = {value: str(value) for value in every} if path is None else _listed_names(path)
    # EMNIST has upper and lower case letters as classes of their own.
    require_classes(path or root, names.values(), case_matters=path == mapping)
    if unnamed := [value for value in every if value not in names]:
        raise UserError(f"{path}: doesn't name the label {unnamed[0]}; add it")
    if "train" in seen:
        require_images(root, names.values(), {names[value] for value in seen["train"]})
    return dict(sorted(names.items()))


def _mapping(root: Path) -> Path | None:
    """EMNIST's own list of labels and character codes."""
    return next((root / name for name in files(root) if name.endswith("-mapping.txt")), None)


def _listed_names(path: Path) -> dict[int, str]:
    """The classes that a list or EMNIST's mapping names, by label."""
    listed = numbered(read_lines(path)) if path.name == "classes.txt" else _characters(path)
    names = dict(listed)
    if len(names) < len(listed):
        repeated = [str(value) for value, count in Counter(value for value, _ in listed).items() if count > 1]
        raise UserError(f"{path}: names the label {some(repeated)} twice; keep one of the lines")
    return names


def _characters(mapping: Path) -> list[tuple[int, str]]:
    try:
        codes = [[int(code) for code in line.split()] for line in read_lines(mapping)]
        return [(code[0], chr(code[1])) for code in codes]
    except (ValueError, IndexError) as error:
        raise UserError(f"{mapping}: is no mapping of labels to character codes; mend or remove it") from error


def _read_images(part: _Files) -> NDArray[np.uint8]:
    images = _read_idx(part.images, 3)
    return images.transpose(0, 2, 1) if part.columns_first else images


def _read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The sizes that the header declares, as far as the file can hold them."""
    head = _unpack(path, 4 + 4 * dimensions)
    if head[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]) or len(head) < 4 + 4 * dimensions:
        start = head[:4].hex(" ") or "nothing"
        raise UserError(f"{path}: is no IDX file of bytes in {dimensions} dimensions, as it starts with {start}")
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
    _check_length(path, shape, len(head))
    return shape


def _check_length(path: Path, shape: tuple[int, ...], header: int) -> None:
    """Before anything is allocated: the file holds what is declared, and not too much."""
    length, declared = path.stat().st_size, header + prod(shape)
    if not prod(shape):
        raise UserError(f"{path}: declares {_by(shape)} values, so there is nothing in it; replace it")
    if declared > most_bytes():
        raise UserError(f"{path}: declares {declared} bytes; raise VISION_TASKS_MAX_BYTES if that is meant to be")
    if length * _MOST_DEFLATE_SAVES < declared if _is_packed(path) else length != declared:
        raise UserError(f"{path}: declares {_by(shape)} values, which its {length} bytes can't be; get it again")


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values, in the shape that the header declares."""
    shape = _read_shape(path, dimensions)
    header = 4 + 4 * dimensions
    data = _unpack(path, header + prod(shape) + 1)  # one more, to see that nothing follows
    if len(data) != header + prod(shape):
        more = "fewer" if len(data) < header + prod(shape) else "more"
        raise UserError(f"{path}: declares {_by(shape)} values, but holds {more}; get it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _unpack(path: Path, most: int) -> bytes:
    """The first `most` bytes, unpacked."""
    try:
        if _is_packed(path):
            with gzip.open(path) as packed:
                return packed.read(most)
        with path.open("rb") as file:
            return file.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: can't be read ({error}); get it again") from error


def _is_packed(path: Path) -> bool:
    # By content: browsers unpack what they download, and keep the name.
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


READER: Reader[Labels] = Reader(
    format="mnist-idx",
    looks_like="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (.gz)",
    recognises=_recognises,
    read=_read,
)
