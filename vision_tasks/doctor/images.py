"""Reads every image of a data set once, side by side in threads, and notes what there is to know about it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.decode import decode
from vision_tasks.data.header import bytes_of
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.doctor.header import Header, read_header
from vision_tasks.doctor.perceptual import grey_of, hashes_of, thumbnail
from vision_tasks.doctor.truths import Examined, examine, is_stored_as_image
from vision_tasks.errors import UserError
from vision_tasks.types import Sample
from vision_tasks.warp import Pixels

_AT_ONCE = 16  # images in one job
_SEEN = 7  # every so many pixels each way are looked at first, to tell colour from grey


@dataclass(frozen=True, slots=True)
class Look:
    """What the pixels of an image say."""

    grey: bool  # all channels are the same
    deviation: float  # of the grey levels
    alpha: int | None  # where there is an alpha that is the same everywhere
    thumb: NDArray[np.uint8]  # greys [32,32]
    hash: int = 0


@dataclass(frozen=True, slots=True)
class Examination:
    """One image of the data set."""

    id: str
    split: str
    path: Path
    problem: str = ""  # why it can't be read
    label_problem: str = ""  # why its truth can't
    header: Header | None = None
    digest: bytes = b""  # sha256 of the file; empty for images that lie many in a file
    look: Look | None = None
    truth: Examined | None = None


def examine_images(
    dataset: Dataset[Any], pixels: bool, done: Callable[[int], None], workers: int | None = None
) -> list[Examination]:
    """Every image of `dataset`, the first time that a split lists it; `done` is told how many more are.

    Without `pixels` nothing is decoded: neither images nor truth that is stored as images.
    """
    cv2.setNumThreads(1)
    samples = _listed(dataset)
    truths = pixels or not _truth_is_image([sample for _, sample in samples])
    job = partial(_examine_some, dataset.classes, pixels, truths)
    parts = [samples[start : start + _AT_ONCE] for start in range(0, len(samples), _AT_ONCE)]
    found: list[Examination] = []
    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(job, parts):
            found += part
            done(len(part))
    return found


def pixel_digest(sample: Sample[Any]) -> bytes:
    """sha256 of an image's decoded pixels and their shape. Raises DecodeError."""
    _, _, pixels = _decoded(sample)
    return sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()


def _listed(dataset: Dataset[Any]) -> list[tuple[str, Sample[Any]]]:
    """Samples with their splits; a sample of several splits with the first of them, since readers tell that."""
    unique: dict[str, tuple[str, Sample[Any]]] = {}
    for split, samples in dataset.splits.items():
        for sample in samples:
            unique.setdefault(sample.id, (split, sample))
    return list(unique.values())


def _truth_is_image(samples: Sequence[Sample[Any]]) -> bool:
    return any(is_stored_as_image(truth) for truth in _first_truth(samples))


def _first_truth(samples: Sequence[Sample[Any]]) -> Iterator[Any]:
    """The truth of the first sample that has a readable one; nothing if none has."""
    for sample in samples:
        try:
            yield sample.truth(None)
            return
        except (DecodeError, UserError):
            continue


def _examine_some(
    classes: tuple[str, ...], pixels: bool, truths: bool, samples: Sequence[tuple[str, Sample[Any]]]
) -> list[Examination]:
    found = [_examined(split, sample, classes, pixels, truths) for split, sample in samples]
    looks = [each.look for each in found if each.look is not None]
    if not looks:
        return found
    hashes = iter(hashes_of(np.stack([look.thumb for look in looks])).tolist())
    return [each if each.look is None else replace(each, look=replace(each.look, hash=next(hashes))) for each in found]


def _examined(split: str, sample: Sample[Any], classes: tuple[str, ...], pixels: bool, truths: bool) -> Examination:
    seen = Examination(sample.id, split, sample.path)
    try:
        if pixels or sample.pixels:
            data, header, decoded = _decoded(sample)
            seen = replace(seen, header=header, look=_look(data, header, decoded) if pixels else None)
        else:
            data = bytes_of(sample)
            seen = replace(seen, header=read_header(data))
        seen = replace(seen, digest=sha256(data).digest() if data else b"")
    except (DecodeError, MemoryError) as error:
        return replace(seen, problem=str(error) or "too large for this machine's memory")
    return _with_truth(seen, sample, classes) if truths else seen


def _with_truth(seen: Examination, sample: Sample[Any], classes: tuple[str, ...]) -> Examination:
    size = seen.header.size if seen.header else None
    try:
        return replace(seen, truth=examine(sample.truth(size), size, classes))
    except (DecodeError, UserError) as error:
        return replace(seen, label_problem=str(error))


def _decoded(sample: Sample[Any]) -> tuple[bytes, Header, Pixels]:
    """The file's bytes, what they say, and the pixels in the file's own orientation. Raises DecodeError."""
    if sample.pixels is not None:
        values = sample.pixels()
        return b"", Header("", "RGB", (values.shape[0], values.shape[1])), values
    data = bytes_of(sample)
    return data, read_header(data), decode(data).pixels


def _look(data: bytes, header: Header, pixels: Pixels) -> Look:
    grey = grey_of(pixels)
    deviation = float(cv2.meanStdDev(grey)[1].item())
    return Look(_is_grey(pixels), deviation, _constant_alpha(data, header), thumbnail(grey))


def _is_grey(pixels: Pixels) -> bool:
    return all(_same_channels(part) for part in (pixels[::_SEEN, ::_SEEN], pixels))


def _same_channels(pixels: Pixels) -> bool:
    green = pixels[..., 1]
    return bool((pixels[..., 0] == green).all() and (pixels[..., 2] == green).all())


def _constant_alpha(data: bytes, header: Header) -> int | None:
    if header.mode not in ("RGBA", "LA", "PA"):
        return None
    with Image.open(io.BytesIO(data)) as image:
        low, high = image.getchannel("A").getextrema()
    return int(str(low)) if low == high else None
