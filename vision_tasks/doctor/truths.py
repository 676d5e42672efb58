"""What is odd about the truth of one image, and how much of each class it holds: by the kind of truth, not by tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE, Boxes, Labels, Masks, Size

TINY_SIDE = 2.0  # pixels: an object of which a network sees nothing
COVERING = 0.98  # of the image: a box that says no more than a label of the whole
SAME_BOX = 0.95  # IoU
MOSTLY_VOID = 0.3  # of the pixels

Oddity = tuple[str, str]  # kind, words about the single case


@dataclass(frozen=True, slots=True)
class Examined:
    """The truth of one image."""

    counts: NDArray[np.float64]  # [K]: images, boxes or pixels of each class
    void: float  # pixels that count nowhere
    digest: bytes  # the same for the same truth
    oddities: tuple[Oddity, ...] = ()


@singledispatch
def examine(truth: Any, size: Size | None, classes: tuple[str, ...]) -> Examined:
    """Look at the truth (B = 1) of an image of `size`."""
    raise UserError(f"{type(truth).__name__}: such truth can't be examined")


@examine.register
def _(truth: Labels, size: Size | None, classes: tuple[str, ...]) -> Examined:
    weight = truth.weight[0].double().numpy()
    return Examined(weight, 0.0, _digest(weight))


@examine.register
def _(truth: Boxes, size: Size | None, classes: tuple[str, ...]) -> Examined:
    xyxy, label = truth.xyxy[0].double().numpy(), truth.label[0].numpy()
    crowd = truth.crowd[0].numpy()
    counts = np.bincount(label[~crowd], minlength=len(classes)).astype(np.float64)
    oddities = [*_box_sizes(xyxy, label, size, classes), *_overlaps(xyxy[~crowd], label[~crowd], classes)]
    return Examined(counts, 0.0, _digest(np.round(xyxy, 3), label, crowd), tuple(oddities))


@examine.register
def _(truth: Masks, size: Size | None, classes: tuple[str, ...]) -> Examined:
    index = truth.index[0].numpy()
    pixels = np.bincount(index.ravel(), minlength=IGNORE + 1)
    counts, void = pixels[: len(classes)].astype(np.float64), float(pixels[IGNORE])
    return Examined(counts, void, _digest(index), tuple(_mask_oddities(counts, void, classes)))


def is_stored_as_image(truth: object) -> bool:
    """Whether asking for such truth decodes an image of its own."""
    return isinstance(truth, Masks)


def _digest(*arrays: NDArray[Any]) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _box_sizes(
    xyxy: NDArray[np.float64], label: NDArray[np.int64], size: Size | None, classes: tuple[str, ...]
) -> list[Oddity]:
    sides = xyxy[:, 2:] - xyxy[:, :2]
    odd = [("tiny-box", _said(xyxy[i], label[i], classes)) for i in np.flatnonzero(sides.min(axis=1) < TINY_SIDE)]
    if size is not None:
        all_of_it = sides.prod(axis=1) >= COVERING * size[0] * size[1]
        odd += [("box-covers-image", _said(xyxy[i], label[i], classes)) for i in np.flatnonzero(all_of_it)]
    return odd


def _overlaps(xyxy: NDArray[np.float64], label: NDArray[np.int64], classes: tuple[str, ...]) -> list[Oddity]:
    """Two boxes at one place: the same object twice, or with two names."""
    odd = []
    for i, j in zip(*np.nonzero(np.triu(_iou(xyxy) > SAME_BOX, k=1)), strict=True):
        if label[i] == label[j]:
            odd.append(("box-twice", _said(xyxy[i], label[i], classes)))
        else:
            odd.append(("box-of-two-classes", f"{_said(xyxy[i], label[i], classes)} is {classes[label[j]]} too"))
    return odd


def _iou(xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of all boxes with all [N,N]."""
    low = np.maximum(xyxy[:, None, :2], xyxy[None, :, :2])
    high = np.minimum(xyxy[:, None, 2:], xyxy[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    return np.asarray(shared / (area[:, None] + area[None] - shared))


def _said(box: NDArray[np.float64], label: int, classes: tuple[str, ...]) -> str:
    return f"{classes[label]} ({', '.join(f'{edge:g}' for edge in box.round(2))})"


def _mask_oddities(counts: NDArray[np.float64], void: float, classes: tuple[str, ...]) -> list[Oddity]:
    total = counts.sum() + void
    if not counts.any():
        return [("mask-empty", "every pixel is void")]
    odd: list[Oddity] = []
    if np.count_nonzero(counts) == 1:
        odd.append(("mask-of-one-class", f"nothing but {classes[int(counts.argmax())]}"))
    if void > MOSTLY_VOID * total:
        odd.append(("mask-mostly-void", f"{void / total:.0%} void"))
    return odd
