"""Differences between models beside SciPy's permutation test, simulated truth, and cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, permutation_test

from vision_tasks.metrics.bootstrap import halves
from vision_tasks.metrics.pairing import difference, holm


def compared(first: np.ndarray, second: np.ndarray):
    """Accuracies of two models that are right (1) or wrong (0) about the same images."""
    weights = halves(len(first))
    total = weights.sum(axis=0)
    scores = first.mean(), second.mean()
    return difference(scores, (first @ weights / total, second @ weights / total), int((first != second).sum()))


def right_or_wrong(images: int, only_first: int, only_second: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.ones(images), np.ones(images)
    second[:only_first] = 0
    first[only_first : only_first + only_second] = 0
    return first, second


@pytest.mark.parametrize(("only_first", "only_second"), [(30, 25), (40, 25), (45, 22), (20, 38)])
def test_p_is_that_of_a_permutation_test(only_first, only_second):
    first, second = right_or_wrong(400, only_first, only_second)
    expected = permutation_test(
        (first, second), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples",
        n_resamples=4000, vectorized=True, rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    found = compared(first, second)
    assert found.value == pytest.approx((only_first - only_second) / 400)
    # The permutation test is exact, and so counts half a step more in a discrete distribution.
    assert found.p == pytest.approx(expected, rel=0.35, abs=0.012)


def test_the_interval_is_that_of_the_standard_error_of_the_difference():
    first, second = right_or_wrong(400, 40, 25)
    found = compared(first, second)
    margin = 1.96 * (first - second).std() / 20
    assert (found.low, found.high) == pytest.approx((found.value - margin, found.value + margin), abs=0.15 * margin)


def test_equal_models_are_equal():
    first, _ = right_or_wrong(50, 10, 0)
    assert compared(first, first) == (0, 0, 0, 1)


def test_who_is_named_first_changes_the_sign_alone():
    first, second = right_or_wrong(300, 31, 12)
    there, back = compared(first, second), compared(second, first)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert back.p == pytest.approx(there.p)


def test_few_images_that_differ_prove_little():
    # Four images of four speak for the first: by luck alone all would speak for one of the two once in 8 times.
    assert compared(np.ones(4), np.zeros(4)).p == 1 / 8
    assert compared(*right_or_wrong(200, 1, 0)).p == 1


def test_undefined_draws_are_left_out():
    found = difference((0.5, 0.4), (np.array([0.5, np.nan, 0.5]), np.array([0.4, 0.4, np.nan])), 100)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert math.isnan(difference((0.5, 0.4), (np.array([np.nan]), np.array([0.4])), 100).low)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, and no smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@pytest.mark.slow
def test_intervals_of_differences_hold_the_truth_and_false_alarms_are_as_rare_as_said():
    luck = np.random.default_rng(7)
    sets, images, true = 300, 150, 0.05
    covered = alarms = 0
    for _ in range(sets):
        ease = luck.normal(0, 1, images)  # the same images are hard for both
        first, second = (
            (luck.random(images) < np.clip(level + 0.15 * ease, 0, 1)).astype(float) for level in (0.7, 0.65)
        )
        twin = (luck.random(images) < np.clip(0.7 + 0.15 * ease, 0, 1)).astype(float)
        found = compared(first, second)
        covered += found.low <= true <= found.high
        alarms += compared(first, twin).p < 0.05
    # The clipped ends shift the true difference by less than a hundredth of its width here.

    assert covered >= binom.ppf(0.005, sets, 0.95)
    assert alarms <= binom.ppf(0.995, sets, 0.05)
