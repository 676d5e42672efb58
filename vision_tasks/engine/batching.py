"""What an epoch is: its samples in order, cut into optimiser steps, these into batches whose gradients add up, these
among processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_tasks import luck
from vision_tasks.errors import UserError


@dataclass(frozen=True)
class Part:
    """What one process computes at once."""

    samples: NDArray[np.int64]  # positions among all N samples; N more for each time it was in the epoch before
    share: float  # of the step's images that are in it
    ends_step: bool  # the optimiser moves after it


def repeat_factors(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each image is to be seen, relative to others [N], by what it holds of each class: `counts` [N,K].

    The factor of a class is the inverse root of the share of images that show it; an image has the largest factor of
    its classes, and 1 if it shows none (Gupta, Dollar, Girshick: LVIS, CVPR 2019, with 1 as the threshold: LVIS lifts
    only classes rarer than a thousandth, of which small data sets have none). The root, and not the inverse share
    itself, keeps the few images of a rare class from being learnt by heart.
    """
    shown = counts > 0
    share = shown.mean(axis=0).clip(min=1 / len(counts))
    return np.asarray(np.where(shown, share**-0.5, 1.0).max(axis=1, initial=1.0))


def balanced_order(factors: NDArray[np.float64], seed: int, epoch: int, keys: luck.Keys) -> NDArray[np.int64]:
    """As many draws as there are samples, shuffled; as in `Part.samples`.

    Systematic sampling: of N draws a sample gets its share by `factors` [N], rounded up or down. What is drawn depends
    on the samples' keys, not on the order they come in.
    """
    count = len(factors)
    queue = luck.order(seed, "balance", epoch, keys)
    ends = factors[queue].cumsum()
    start = luck.uniform(seed, "balance from", epoch, luck.keys([""]), 1)[0, 0]
    marks = (np.arange(count) + start) / count * ends[-1]
    drawn = np.sort(queue[np.searchsorted(ends, marks, side="right").clip(max=count - 1)])
    times = np.arange(count) - np.searchsorted(drawn, drawn)  # that it was drawn before
    places = luck.uniform(seed, "order", epoch, keys[drawn], int(times.max()) + 1)[np.arange(count), times]
    return np.asarray((drawn + times * count)[np.lexsort((keys[drawn], places))])


def steps_per_epoch(images: int, batch_size: int, accumulate: int) -> int:
    """How often the optimiser moves in an epoch."""
    return -(-images // (batch_size * accumulate))


def cut(
    order: NDArray[np.int64], batch_size: int, accumulate: int = 1, processes: int = 1, rank: int = 0
) -> list[Part]:
    """The parts of process `rank` in an epoch over samples in this `order`.

    A step has `batch_size * accumulate` images over all processes, or fewer: steps are as equal in number as can be.
    Raises UserError where a process would get nothing.
    """
    steps = np.array_split(order, steps_per_epoch(len(order), batch_size, accumulate))
    return [part for step in steps for part in _parts_of(step, accumulate, processes, rank)]


def _parts_of(step: NDArray[np.int64], accumulate: int, processes: int, rank: int) -> list[Part]:
    batches = np.array_split(step, min(accumulate, len(step)))
    if min(map(len, batches)) < processes:
        raise UserError(
            f"a batch of {min(map(len, batches))} images can't be shared by {processes} processes; "
            "use a larger --batch-size or fewer processes"
        )
    mine = [np.array_split(batch, processes)[rank] for batch in batches]
    return [Part(own, len(own) / len(step), index == len(mine) - 1) for index, own in enumerate(mine)]
