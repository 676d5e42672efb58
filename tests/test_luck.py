"""Luck depends on its key alone, and is as good as random."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vision_tasks import luck

IDS = [f"image-{i}.jpg" for i in range(5000)]
KEYS = luck.keys(IDS)


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 10_000), picks=st.lists(st.integers(0, 4999), max_size=40))
def test_a_draw_depends_on_seed_epoch_and_id_only(seed, epoch, picks):
    everything = luck.uniform(seed, "crop", epoch, KEYS, 3)
    some = luck.uniform(seed, "crop", epoch, KEYS[picks], 3)
    assert np.array_equal(some, everything[picks])


def splitmix64(state: int) -> int:
    """The published finaliser, on Python's own integers."""
    mask = 2**64 - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
    return state ^ (state >> 31)


def test_numbers_are_those_of_splitmix64():
    """A change of these would change every training that was ever recorded."""
    key, purpose = (
        int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") for text in (b"a", b"7/crop/3")
    )
    start = splitmix64(key ^ purpose)
    expected = [(splitmix64((start + slot * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for slot in (1, 2)]
    assert luck.uniform(7, "crop", 3, luck.keys(["a"]), 2)[0].tolist() == expected


def test_uniform_and_independent():
    draws = luck.uniform(0, "test", 0, KEYS, 8)
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    correlation = np.corrcoef(np.concatenate([draws, luck.uniform(0, "test", 1, KEYS, 8)], axis=1).T)
    assert np.abs(correlation - np.eye(16)).max() < 5 / len(IDS) ** 0.5


def test_seed_epoch_and_purpose_all_matter():
    base = luck.uniform(0, "crop", 0, KEYS, 1)
    for other in (
        luck.uniform(1, "crop", 0, KEYS, 1),
        luck.uniform(0, "flip", 0, KEYS, 1),
        luck.uniform(0, "crop", 1, KEYS, 1),
    ):
        assert not np.isclose(base, other).any(axis=1).mean() > 0.001


def test_order_is_a_permutation_that_moves_with_the_ids():
    order = luck.order(0, "order", 0, KEYS)
    assert sorted(order) == list(range(len(IDS)))
    shuffled = np.random.default_rng(0).permutation(len(IDS))
    again = luck.order(0, "order", 0, KEYS[shuffled])
    assert [IDS[i] for i in order] == [IDS[shuffled[i]] for i in again]
