"""Canvases without the border that no image reaches: images of like shape share a batch, and a network has less to do.

What is cut off are whole steps of a network's grid, the same on both sides. So a network that is made of convolutions
sees the same pixels at the same places of its grid as on the whole canvas, and near the cut some of its own padding in
place of the border. Whether it then says the same is measured (`engine_choice.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from vision_tasks.geometry import bounds, translate
from vision_tasks.types import Batch, ImageInfo, Size, T

STEP = 32  # pixels: what most networks shrink by; of those with larger steps the measurement says whether it matters
MOST = 5  # canvases beside the whole one: some engines are made for each
WORTH = 0.015  # of all pixels; what saves less is not worth another canvas
_WAITING = 4  # batches of images whose companions haven't come yet


def needed(info: ImageInfo, canvas: Size) -> Size:
    """The least canvas, by whole steps from both sides, on which there is a border of a pixel around the image."""
    (x0, y0), (x1, y1) = bounds(info.size, info.placement)
    height, width = canvas
    return _cut(height, min(y0, height - y1)), _cut(width, min(x0, width - x1))


def _cut(side: int, border: float) -> int:
    return side - 2 * STEP * max(0, int(border - 1) // STEP)


def canvases_for(infos: Sequence[ImageInfo], canvas: Size) -> tuple[Size, ...]:
    """The few canvases, beside the whole one, that save most for such images."""
    wanted = Counter(needed(info, canvas) for info in infos)
    chosen: list[Size] = []
    pixels = _pixels(wanted, chosen, canvas)
    while len(chosen) < MOST and (left := [size for size in wanted if size not in (canvas, *chosen)]):
        best = min(left, key=lambda size: (_pixels(wanted, [*chosen, size], canvas), size))
        fewer = _pixels(wanted, [*chosen, best], canvas)
        if pixels - fewer < WORTH * len(infos) * canvas[0] * canvas[1]:
            break
        chosen.append(best)
        pixels = fewer
    return tuple(chosen)


def _pixels(wanted: Counter[Size], chosen: Sequence[Size], canvas: Size) -> int:
    taken = ((least_of(size, chosen, canvas), count) for size, count in wanted.items())
    return sum(height * width * count for (height, width), count in taken)


def least_of(size: Size, chosen: Sequence[Size], canvas: Size) -> Size:
    """The smallest of the `chosen` canvases that holds `size`, or else the whole one."""
    fitting = [one for one in chosen if one[0] >= size[0] and one[1] >= size[1]]
    return min(fitting, key=lambda one: one[0] * one[1], default=canvas)


def trimmed(batches: Iterable[Batch[T]], chosen: Sequence[Size], most: int) -> Iterator[Batch[T]]:
    """The same images in batches of one shape, `most` at a time; those that wait too long for others go without."""
    waiting: dict[Size, _Waiting] = {}
    for batch in batches:
        if batch.failures:
            yield replace(batch, images=batch.images[:0], info=())
        for image, info in zip(batch.images, batch.info, strict=True):
            canvas = (image.shape[-2], image.shape[-1])
            size = least_of(needed(info, canvas), chosen, canvas)
            if size not in waiting:
                waiting[size] = _Waiting(image.new_empty((most, *size, len(image))).permute(0, 3, 1, 2))
            waiting[size].take(image, info)
            if len(waiting[size].infos) == most:
                yield waiting.pop(size).batch()
        while sum(len(each.infos) for each in waiting.values()) > _WAITING * most:
            yield waiting.pop(max(waiting, key=lambda size: len(waiting[size].infos))).batch()
    for each in waiting.values():
        yield each.batch()


@dataclass
class _Waiting:
    """A batch that is not full yet."""

    images: Tensor  # [B,C,h,w], channels last, of which as many are there as `infos`
    infos: list[ImageInfo] = field(default_factory=list)

    def take(self, image: Tensor, info: ImageInfo) -> None:
        """Copy the middle of a canvas [C,H,W], for a part of it would hold the whole batch that it came in."""
        height, width = self.images.shape[-2:]
        y, x = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        middle, place = image[:, y : y + height, x : x + width], self.images[len(self.infos)]
        if image.device.type == "cpu":
            # By one thread: those that torch would wake go on spinning for a while, on cores that others could use.
            np.copyto(place.numpy(), middle.numpy())
        else:
            place.copy_(middle)
        self.infos.append(replace(info, placement=translate(-x, -y) @ info.placement))

    def batch(self) -> Batch[Any]:
        """What is there."""
        return Batch(self.images[: len(self.infos)], None, (), tuple(self.infos))


def parted(batches: Iterable[Batch[T]], most: int) -> Iterator[Batch[T]]:
    """The same images in the same order, `most` at a time."""
    for batch in batches:
        failures = batch.failures
        for start in range(0, max(1, len(batch)), most):
            rows = slice(start, start + most)
            yield replace(batch, images=batch.images[rows], info=batch.info[rows], failures=failures)
            failures = ()
