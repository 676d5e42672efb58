"""Pictures that look alike: a perceptual hash, and a search for near hashes that doesn't compare all with all.

The hash is the DCT hash of Zauner (Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section
3.2.1): the picture as 32x32 greys, its two-dimensional DCT-II, the 8x8 lowest frequencies but for the constant row and
column, a bit for each that is above their median. Pictures are near duplicates where

- their hashes differ in `HAMMING_LIMIT` of 64 bits at most, and
- these greys have a correlation of `LEAST_CORRELATION` at least: hashes agree by chance, too, those of flat ones often.

Of 3,000 photos and tiles that no two of which are the same, no pair was called so; of their copies at a JPEG quality of
40, at half the size, or brighter, over 99 % were, if not flat; of copies without 2 % at each edge few.

Search: cut into 8 bands of 8 bits, two hashes that differ in 6 bits at most agree in two bands or more. So for each of
the 28 pairs of bands hashes are sorted by these 16 bits, and only neighbours of the same 16 bits are compared; where
more than `_WINDOW` share them, each with the next so many in the order of the whole hash.
"""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from vision_tasks.warp import Pixels

HAMMING_LIMIT = 6
LEAST_CORRELATION = 0.98

Thumbs = NDArray[np.uint8]  # [N,32,32]
Hashes = NDArray[np.uint64]  # [N]
Pairs = NDArray[np.int64]  # [P,2], the smaller first

_SIDE = 32
_LARGE = 4 * _SIDE
_BANDS, _AGREEING = 8, 2  # of 8 bits each; at most 6 can differ where two agree
_WINDOW = 64
_WEIGHT = np.uint64(1) << np.arange(64, dtype=np.uint64)
_CHUNK = 1 << 16  # pairs at once


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey picture [H,W] as 32x32, by means of areas."""
    while min(grey.shape) >= _LARGE:  # to a half is a tenth of the time that to any size takes
        height, width = (side // 2 for side in grey.shape)
        grey = np.asarray(cv2.resize(grey[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def grey_of(pixels: Pixels) -> NDArray[np.uint8]:
    """RGB [H,W,3] as luma of ITU-R BT.601."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def hashes_of(thumbs: Thumbs) -> Hashes:
    """The DCT hashes of thumbnails [N,32,32]."""
    low = dctn(thumbs.astype(np.float32), axes=(1, 2))[:, 1:9, 1:9].reshape(len(thumbs), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.asarray((bits * _WEIGHT).sum(axis=1, dtype=np.uint64))


def near_pairs(hashes: Hashes, thumbs: Thumbs) -> Pairs:
    """Which pictures, of hashes [N] and greys [N,32,32], are near duplicates of one another."""
    pairs = near_hashes(hashes)
    alike = [_alike(thumbs, pairs[start : start + _CHUNK]) for start in range(0, len(pairs), _CHUNK)]
    return pairs[np.concatenate(alike)] if alike else pairs


def near_hashes(hashes: Hashes) -> Pairs:
    """Pairs of positions whose hashes differ in few bits."""
    bands = hashes[:, None] >> (np.arange(_BANDS, dtype=np.uint64) * np.uint64(8)) & np.uint64(0xFF)
    codes = [np.empty(0, np.int64)]
    for first, second in combinations(range(_BANDS), _AGREEING):
        codes.append(_near_in_buckets(hashes, bands[:, first] << np.uint64(8) | bands[:, second]))
    code = np.unique(np.concatenate(codes))
    return np.stack(np.divmod(code, max(1, len(hashes))), axis=1)


def _near_in_buckets(hashes: Hashes, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Near pairs among those of the same key, as `smaller * N + larger`."""
    order = np.lexsort((hashes, keys))
    keys, hashes = keys[order], hashes[order]
    place, found = np.arange(len(keys)), [np.empty(0, np.int64)]
    for step in range(1, _WINDOW + 1):
        place = place[: np.searchsorted(place, len(keys) - step)]
        place = place[keys[place] == keys[place + step]]
        if not len(place):
            break
        near = place[np.bitwise_count(hashes[place] ^ hashes[place + step]) <= HAMMING_LIMIT]
        one, other = order[near], order[near + step]
        found.append(np.minimum(one, other) * len(keys) + np.maximum(one, other))
    return np.concatenate(found)


def _alike(thumbs: Thumbs, pairs: Pairs) -> NDArray[np.bool_]:
    """Whether the greys of each pair are nearly the same but for brightness and contrast."""
    one, other = (_centred(thumbs[pairs[:, side]]) for side in (0, 1))
    norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.asarray((one * other).sum(axis=1) >= LEAST_CORRELATION * norm)


def _centred(thumbs: Thumbs) -> NDArray[np.float32]:
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    return np.asarray(flat - flat.mean(axis=1, keepdims=True))
