"""How an epoch is cut: into optimiser steps, these into batches whose gradients add up, these among processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_tasks.errors import UserError


@dataclass(frozen=True)
class Part:
    """What one process computes at once."""

    samples: NDArray[np.int64]  # positions among all samples
    share: float  # of the step's images that are in it
    ends_step: bool  # the optimiser moves after it


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
