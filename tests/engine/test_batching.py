"""An epoch is cut without loss, evenly, and the same images make a step however it is shared."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_tasks import luck
from vision_tasks.engine.batching import balanced_order, cut, repeat_factors, steps_per_epoch
from vision_tasks.errors import UserError

ORDER = np.random.default_rng(0).permutation(103)


def steps_of(parts):
    """The samples of each step, in order."""
    steps = [[]]
    for part in parts:
        steps[-1] += part.samples.tolist()
        if part.ends_step:
            steps.append([])
    assert steps.pop() == []
    return steps


def test_every_sample_once_and_steps_as_equal_as_can_be():
    parts = cut(ORDER, 10)
    assert sorted(np.concatenate([part.samples for part in parts])) == list(range(103))
    assert sorted({len(part.samples) for part in parts}) == [9, 10]
    assert len(parts) == steps_per_epoch(103, 10, 1) == 11
    assert all(part.share == 1 and part.ends_step for part in parts)


def test_accumulated_batches_make_the_steps_of_large_ones():
    parts = cut(ORDER, 5, accumulate=4)
    assert steps_of(parts) == [part.samples.tolist() for part in cut(ORDER, 20)]
    assert [part.ends_step for part in parts[:4]] == [False, False, False, True]
    assert sum(part.share for part in parts[:4]) == pytest.approx(1)


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 2), (3, 2), (1, 4)])
def test_processes_share_the_same_steps(accumulate, processes):
    whole = cut(ORDER, 12, accumulate)
    ranks = [cut(ORDER, 12, accumulate, processes, rank) for rank in range(processes)]
    for part, *shared in zip(whole, *ranks, strict=True):
        assert np.concatenate([own.samples for own in shared]).tolist() == part.samples.tolist()
        assert sum(own.share for own in shared) == pytest.approx(part.share)
        assert {own.ends_step for own in shared} == {part.ends_step}


def test_too_few_images_for_all_processes():
    with pytest.raises(UserError, match="can't be shared by 4 processes"):
        cut(ORDER[:3], 8, processes=4)


def test_fewer_images_than_batches_to_add_up():
    assert [part.samples.tolist() for part in cut(np.array([4, 2]), 1, accumulate=3)] == [[4], [2]]


COUNTS = np.array([[3, 0, 0], [1, 0, 0], [1, 2, 0], [5, 0, 1], [0, 0, 0], [2, 0, 0], [1, 0, 0], [1, 0, 0]], float)


def test_an_images_factor_is_that_of_its_rarest_class():
    """Of eight images the classes are shown by seven, one and one."""
    common, rare = (8 / 7) ** 0.5, 8**0.5
    assert repeat_factors(COUNTS).tolist() == pytest.approx([common, common, rare, rare, 1, common, common, common])
    assert repeat_factors(np.zeros((3, 2))).tolist() == [1, 1, 1]


def draws(factors, seed=0, epoch=0, keys=None):
    keys = luck.keys(map(str, range(len(factors)))) if keys is None else keys
    return balanced_order(np.asarray(factors, float), seed, epoch, keys)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 50), min_size=1, max_size=40), st.integers(0, 5))
def test_every_image_is_drawn_by_its_share_rounded_up_or_down(factors, epoch):
    count = len(factors)
    drawn = draws(factors, epoch=epoch)
    assert len(drawn) == len(set(drawn.tolist())) == count
    times = np.bincount(drawn % count, minlength=count)
    expected = count * np.array(factors) / np.sum(factors)
    assert (np.abs(times - expected) < 1 + 1e-9).all()
    # The numbers of one image tell its draws apart: i, i + N, i + 2 N ...
    assert sorted(drawn.tolist()) == sorted(i + count * k for i in range(count) for k in range(times[i]))


def test_equal_factors_draw_every_image_once():
    assert sorted(draws([2.0] * 50).tolist()) == list(range(50))


def test_over_epochs_every_image_has_its_share():
    factors = repeat_factors(COUNTS)
    times = sum(np.bincount(draws(factors, epoch=epoch) % 8, minlength=8) for epoch in range(3000))
    np.testing.assert_allclose(times / 3000, 8 * factors / factors.sum(), rtol=0.03)


def test_draws_depend_on_keys_seed_and_epoch_and_not_on_the_order_of_samples():
    factors, keys = np.linspace(1, 9, 30), luck.keys(map(str, range(30)))
    turned = draws(factors[::-1], keys=keys[::-1])
    assert (29 - turned % 30).tolist() == (draws(factors) % 30).tolist()
    assert draws(factors).tolist() == draws(factors).tolist()
    assert draws(factors, epoch=1).tolist() != draws(factors).tolist() != draws(factors, seed=1).tolist()


def test_repeated_draws_are_spread_over_the_epoch():
    factors = np.ones(1000)
    factors[:10] = 50
    places = np.flatnonzero(draws(factors) % 1000 < 10)
    assert len(places) == pytest.approx(1000 * 500 / 1490, abs=10)
    assert scipy.stats.kstest(places, "uniform", (0, 1000)).pvalue > 0.01
