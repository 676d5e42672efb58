"""Judgements on invented runs: who is better, who ties, who is on the front, and when nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from vision_tasks.benchmarking.judge import Scored, compare, estimates, pareto, rare_classes, ties
from vision_tasks.benchmarking.record import Pair
from vision_tasks.benchmarking.resampled import Resampled, read_resampled, write_resampled
from vision_tasks.errors import UserError
from vision_tasks.metrics.classification import ClassificationEvidence


def resampled(right: np.ndarray, label: np.ndarray | None = None) -> Resampled:
    """A classifier that is right (1) or wrong (0) about each image."""
    count = len(right)
    label = np.arange(count) % 2 if label is None else label
    rank = np.where(right > 0, 0, 5)
    predicted = np.where(right > 0, label, 1 - label)
    names = tuple(f"{i}.jpg" for i in range(count))
    evidence = ClassificationEvidence(names, 2, label, predicted, rank, np.full(count, 0.9))
    return Resampled.of(evidence, np.array(["cat", "dog"]))


def model(name: str, *wrong: range, images: int = 200) -> Scored:
    """One seed for each of `wrong`, the images it is wrong about."""
    runs = []
    for each in wrong:
        right = np.ones(images)
        right[list(each)] = 0
        runs.append(resampled(right))
    return Scored(name, tuple(runs))


def pair(better: str, worse: str, different: bool) -> Pair:
    return Pair(better=better, worse=worse, metric="top1", difference=0.1, low=0, high=0.2, p=0.01, p_holm=0.01,
                seed_error=None, different=different)  # fmt: skip


def test_what_is_stored_of_a_run_is_read_again(tmp_path):
    run = resampled(np.array([1, 0, 1, 1, 0]))
    write_resampled(tmp_path, run)
    found = read_resampled(tmp_path)
    assert (found.images, found.support) == (run.images, {"cat": 3, "dog": 2})
    assert found.whole == pytest.approx(dict(run.whole))
    np.testing.assert_array_equal(found.alone, [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(found.of_halves["top1"], run.of_halves["top1"])


def test_each_image_alone_is_right_or_wrong_however_many_there_are():
    right = (np.random.default_rng(0).random(1201) < 0.7).astype(float)
    np.testing.assert_array_equal(resampled(right).alone, right)


def test_a_clear_difference_is_called_one_and_none_where_there_is_none():
    found = compare([model("bad", range(60)), model("good", range(10)), model("fair", range(1, 12))], "top1")
    by_names = {(each.better, each.worse): each for each in found}
    assert by_names["good", "bad"].different
    assert by_names["good", "bad"].difference == pytest.approx(0.25)
    assert by_names["good", "bad"].low > 0
    assert not by_names["good", "fair"].different
    assert all(each.p_holm >= each.p for each in found)


def test_seeds_that_differ_as_much_as_the_models_leave_it_open():
    steady = compare([model("a", range(10), range(11)), model("b", range(60), range(59))], "top1")
    unsteady = compare([model("a", range(1), range(80)), model("b", range(30), range(110))], "top1")
    assert steady[0].different
    assert unsteady[0].p_holm < 0.05
    assert not unsteady[0].different


def test_the_standard_error_over_seeds_by_hand():
    # Deviations over seeds of 0.05 / sqrt(2) and 0, two seeds each.
    (found,) = compare([model("a", range(10), range(20)), model("b", range(50), range(50))], "top1")
    assert found.seed_error == pytest.approx(0.05 / 2)
    (alone,) = compare([model("a", range(10)), model("b", range(50), range(50))], "top1")
    assert alone.seed_error is None


def test_the_estimate_is_the_mean_over_seeds_with_its_interval_over_images():
    found = estimates(model("a", range(10), range(20)))["top1"]
    assert found.mean == pytest.approx(0.925)
    assert found.spread == pytest.approx(0.05 / 2**0.5)
    margin = 1.96 * np.concatenate([np.zeros(10), np.full(10, 0.5), np.ones(180)]).std() / 200**0.5
    assert (found.low, found.high) == pytest.approx((0.925 - margin, 0.925 + margin), abs=0.2 * margin)
    assert estimates(model("a", range(10)))["top1"].spread is None


def test_too_few_images_have_no_interval_and_no_pairs():
    few = [model("a", range(0), images=9), model("b", range(5), images=9)]
    assert (estimates(few[0])["top1"].low, estimates(few[0])["top1"].mean) == (None, 1)
    assert compare(few, "top1") == []


def test_models_must_have_seen_the_same_images():
    with pytest.raises(UserError, match="b was scored on other images than a"):
        compare([model("a", range(3)), model("b", range(3), images=150)], "top1")


def test_classes_that_one_image_shows_are_named():
    label = np.zeros(20, np.int64)
    label[0] = 1
    assert rare_classes(Scored("a", (resampled(np.ones(20), label),))) == ["dog"]


def test_ties_are_neighbours_of_whom_no_two_differ():
    pairs = [pair(a, b, (a, b) in {("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")}) for a, b in
             [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]]  # fmt: skip
    assert ties("abcd", pairs) == [("a", "b"), ("b", "c")]
    assert ties("abc", []) == []


def test_the_front_by_hand():
    quality = {"fast": 0.5, "slow": 0.9, "middle": 0.7, "beaten": 0.6, "untimed": 1.0}
    cost = {"fast": 1.0, "middle": 2.0, "beaten": 3.0, "slow": 9.0}
    assert pareto(quality, cost) == ("fast", "middle", "slow")
    assert pareto({"a": 0.5, "b": 0.5}, {"a": 1, "b": 1}) == ("a", "b")
    assert pareto({"a": 0.5, "b": 0.5}, {"a": 1, "b": 2}) == ("a",)
