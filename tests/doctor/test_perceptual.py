"""The hash by its definition, and the search by comparing all with all."""

import numpy as np
import pytest
from scipy.fft import dct

from vision_tasks.doctor.perceptual import HAMMING_LIMIT, hashes_of, near_hashes, near_pairs


def test_the_hash_is_that_of_the_definition():
    luck = np.random.default_rng(0)
    thumbs = luck.integers(0, 256, (5, 32, 32), dtype=np.uint8)
    for thumb, found in zip(thumbs, hashes_of(thumbs).tolist(), strict=True):
        n = np.arange(32)
        basis = np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / 64)  # DCT-II, rows are frequencies
        assert np.allclose(basis @ thumb[0], dct(thumb[0].astype(float)) / 2)
        low = (basis @ thumb.astype(float) @ basis.T)[1:9, 1:9].ravel()
        median = np.sort(low)[31:33].mean()
        assert found == sum(1 << i for i, value in enumerate(low) if value > median)


def test_brightness_and_contrast_hardly_change_it():
    luck = np.random.default_rng(1)
    thumbs = luck.integers(60, 180, (20, 32, 32), dtype=np.uint8)
    changed = np.round(thumbs * 1.2 + 10).astype(np.uint8)
    assert np.bitwise_count(hashes_of(thumbs) ^ hashes_of(changed)).max() <= 4


@pytest.mark.parametrize("count", [0, 1, 2, 3000])
def test_the_search_finds_every_near_pair(count):
    luck = np.random.default_rng(count)
    hashes = luck.integers(0, 2**64, count, dtype=np.uint64)
    for place in range(0, count - 1, 3):  # neighbours that differ in 0 to 9 bits
        bits = luck.choice(64, place % 10, replace=False)
        hashes[place + 1] = hashes[place] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    luck.shuffle(hashes)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(apart <= HAMMING_LIMIT, k=1))
    assert near_hashes(hashes).tolist() == expected.tolist()
    assert len(expected) >= count // 5


def test_a_crowd_of_equal_hashes_stays_cheap_and_joined():
    hashes = np.full(1000, 12345, np.uint64)
    pairs = near_hashes(hashes)
    assert len(pairs) < 1000 * 65
    assert set(range(1000)) == set(pairs.ravel().tolist())


def test_pictures_that_only_share_a_hash_are_not_alike():
    luck = np.random.default_rng(3)
    thumbs = luck.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    thumbs[2] = thumbs[0]
    assert near_pairs(np.zeros(3, np.uint64), thumbs).tolist() == [[0, 2]]
