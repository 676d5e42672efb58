"""The order of an epoch over samples in shards: shuffled by keyed luck, but never far from the order of their bytes.

Shards follow one another in an order that luck draws for the epoch. In this row every sample is moved back by a random
part of the buffer: two samples that lie further apart than that keep their order, so that at any time all that is read
lies within one buffer's length, while the neighbours of a sample are others in every epoch. Where a sample goes depends
on its own luck and on what lies before it: nothing is streamed, a resumed epoch goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks import luck
from vision_tasks.data.shards.names import is_url
from vision_tasks.types import Extent, Sample

_WINDOW = 1 << 28  # bytes: half of what is held of far shards


def buffered_order(extents: Sequence[Extent], buffer: int, seed: int, epoch: int, keys: luck.Keys) -> NDArray[np.int64]:
    """A permutation of samples [N], of which none is moved by `buffer` places or more; `keys` [N] are their luck's."""
    names, code = np.unique([extent.shard for extent in extents], return_inverse=True)
    turn = np.argsort(luck.order(seed, "shards", epoch, luck.keys(names.tolist())))  # of each shard
    row = np.lexsort((np.array([extent.offset for extent in extents]), turn[code]))
    place = np.empty(len(row))
    place[row] = np.arange(len(row))
    moved = place + buffer * luck.uniform(seed, "order", epoch, keys, 1)[:, 0]
    return np.lexsort((keys, moved))


def extents_of(samples: Sequence[Sample[Any]]) -> list[Extent] | None:
    """Where all of `samples` lie; None where one lies by itself."""
    found = [sample.extent for sample in samples if sample.extent is not None]
    return found if len(found) == len(samples) else None


def usual_buffer(samples: Sequence[Sample[Any]]) -> int:
    """How many of `samples` to shuffle at once: 0, which is all of them, where seeking is cheap."""
    extents = extents_of(samples)
    if not extents or not any(is_url(extent.shard) for extent in extents):
        return 0
    mean = sum(extent.size for extent in extents) / len(extents)
    return max(1, int(_WINDOW / max(1.0, mean)))
