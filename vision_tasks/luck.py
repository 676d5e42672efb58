"""Keyed luck: random numbers that are a function of what they are for, not of who drew before.

`uniform(seed, purpose, epoch, keys, count)` gives every key (a sample id) its own row of numbers. The same call gives
the same numbers for any order, batch size, number of workers or devices, and after any resume, since nothing is
streamed. The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014), whose 64-bit outputs pass BigCrush; one vectorised operation serves a whole batch.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the increment of SplitMix64


def key(text: str) -> int:
    """A stable 64-bit key of `text`; the same on every machine and in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def keys(ids: Iterable[str]) -> Keys:
    """A stable 64-bit key for each sample id [B]."""
    return np.array([key(sample_id) for sample_id in ids], dtype=np.uint64)


def uniform(seed: int, purpose: str, epoch: int, keys: Keys, count: int) -> NDArray[np.float64]:
    """Independent numbers in [0, 1): `count` for each key, float64 [B,count]."""
    state = _mix(keys ^ np.uint64(key(f"{seed}/{purpose}/{epoch}")))
    slots = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _mix(state[:, None] + slots[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, purpose: str, epoch: int, keys: Keys) -> NDArray[np.int64]:
    """A random permutation of range(B) that depends on the keys, not on the order they come in."""
    draws = uniform(seed, purpose, epoch, keys, 1)[:, 0]
    return np.lexsort((keys, draws))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
