"""Against scikit-learn, and by hand where it has no opinion or another."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from vision_tasks.metrics.many_labels import ManyLabelMetric, _average_precision
from vision_tasks.types import Labels


def scores(probability: np.ndarray, truth: np.ndarray, intervals: bool = False) -> dict:
    metric = ManyLabelMetric([f"c{i}" for i in range(truth.shape[1])])
    for p, t in zip(probability, truth, strict=True):
        metric.update(
            Labels(torch.tensor(p[None], dtype=torch.float32)),
            Labels(torch.tensor(t[None], dtype=torch.float32)),
            "1.jpg",
        )
    return metric.compute(intervals)


def column(result: dict, name: str) -> list[float]:
    return [row[name] for row in result["per_class"].values()]


@pytest.fixture(params=["distinct", "ties", "two-values"])
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth of 80 images and 6 classes; every image has class 4, and 5 is rare."""
    luck = np.random.default_rng(7)
    truth = luck.random((80, 6)) < [0.5, 0.3, 0.2, 0.1, 1, 0]
    truth[11, 5] = True
    probability = np.clip(truth * 0.2 + luck.random((80, 6)) * 0.8, 0, 1).astype(np.float32)
    levels = {"distinct": None, "ties": 8, "two-values": 1}[request.param]
    return (probability if levels is None else np.round(probability * levels) / levels), truth


def test_average_precision_equals_sklearn(case: tuple[np.ndarray, np.ndarray]) -> None:
    probability, truth = case
    result = scores(probability, truth)
    each = average_precision_score(truth, probability, average=None)
    np.testing.assert_allclose(column(result, "average_precision"), each, rtol=0, atol=1e-12)
    macro = average_precision_score(truth, probability, average="macro")
    assert result["map"] == pytest.approx(macro, abs=1e-12)
    assert column(result, "images") == truth.sum(axis=0).tolist()
    assert result["images"] == 80


def test_f1_is_the_best_of_sklearns_curve_and_the_threshold_gives_it(case: tuple[np.ndarray, np.ndarray]) -> None:
    probability, truth = case
    result = scores(probability, truth)
    best = []
    for p, t in zip(probability.T, truth.T, strict=True):
        precision, recall, _ = precision_recall_curve(t, p)
        best.append((2 * precision * recall / np.maximum(precision + recall, 1e-300)).max())
    np.testing.assert_allclose(column(result, "f1"), best, rtol=0, atol=1e-12)
    assert result["macro_f1"] == pytest.approx(np.mean(best), abs=1e-12)
    claims = probability >= np.array(column(result, "threshold"))
    assert f1_score(truth, claims, average="macro") == pytest.approx(np.mean(best), abs=1e-12)


def test_images_count_as_often_as_they_are_drawn(case: tuple[np.ndarray, np.ndarray]) -> None:
    probability, truth = case
    draws = np.random.default_rng(1).integers(0, 4, (5, 80)).astype(float)
    draws[:, 40:60] = 0
    for p, t in zip(probability.T, truth.T, strict=True):
        with warnings.catch_warnings(action="ignore"):  # scikit-learn's, where no positive is drawn
            expected = [average_precision_score(t, p, sample_weight=row) if t @ row else np.nan for row in draws]
        np.testing.assert_allclose(_average_precision(p, t, draws), expected, rtol=0, atol=1e-12)


def test_intervals_are_those_of_resampled_images_at_the_thresholds_of_all(case: tuple) -> None:
    probability, truth = case
    result = scores(probability, truth, intervals=True)
    claims = probability >= np.array(column(result, "threshold"))
    luck = np.random.default_rng(0)
    draws = [luck.integers(80, size=80) for _ in range(1000)]
    some = [truth[draw].any(axis=0) for draw in draws]  # classes that are in the resample

    precision = [scores(probability[draw], truth[draw])["map"] for draw in draws[:20]]
    by_sklearn = [
        average_precision_score(truth[draw][:, keep], probability[draw][:, keep], average="macro")
        for draw, keep in zip(draws[:20], some, strict=False)
    ]
    np.testing.assert_allclose(precision, by_sklearn, rtol=0, atol=1e-12)

    hits = np.array([(claims & truth)[draw].sum(axis=0) for draw in draws])
    both = np.array([claims[draw].sum(axis=0) + truth[draw].sum(axis=0) for draw in draws])
    f1 = [np.mean(2 * h[keep] / b[keep]) for h, b, keep in zip(hits, both, some, strict=True)]
    np.testing.assert_allclose(result["macro_f1_ci"], np.percentile(f1, [2.5, 97.5]), rtol=0, atol=1e-12)
    assert result["map_ci"][0] < result["map"] < result["map_ci"][1]


def test_a_class_that_no_image_has_is_left_out() -> None:
    result = scores(np.array([[0.9, 0.8], [0.2, 0.9]]), np.array([[1, 0], [0, 0]]))
    assert (result["map"], result["macro_f1"]) == (1, 1)
    assert result["per_class"]["c0"] == {
        "average_precision": 1,
        "f1": 1,
        "threshold": pytest.approx(0.9),
        "images": 1,
    }
    absent = result["per_class"]["c1"]
    assert all(math.isnan(absent[name]) for name in ("average_precision", "f1", "threshold"))
    assert absent["images"] == 0


def test_by_hand() -> None:
    # Falling: right, wrong, right, wrong. Thresholds 0.9 and 0.5: precision 1 and 2/3, recall 1/2 and 1.
    result = scores(np.array([[0.9], [0.7], [0.5], [0.1]]), np.array([[1], [0], [1], [0]]))
    assert result["map"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert result["per_class"]["c0"]["f1"] == pytest.approx(0.8)
    assert result["per_class"]["c0"]["threshold"] == 0.5


def test_of_thresholds_that_are_as_good_the_highest_is_told() -> None:
    # At 0.9: 1 hit of 1 claim, F1 2/3. At 0.3: 2 hits of 4 claims, F1 2/3.
    result = scores(np.array([[0.9], [0.6], [0.6], [0.3]]), np.array([[1], [0], [0], [1]]))
    assert result["per_class"]["c0"]["threshold"] == pytest.approx(0.9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_finds_nothing(bad: float) -> None:
    probability = np.array([[0.9, 0.9], [0.8, bad], [0.1, 0.1]])
    result = scores(probability, np.array([[1, 1], [1, 1], [0, 0]]))
    # The first image alone: half of the positives, each found without a false claim.
    assert column(result, "average_precision") == [0.5, 0.5]
    assert column(result, "f1") == pytest.approx([2 / 3, 2 / 3])
    lost = scores(np.array([[bad], [0.5]]), np.array([[1], [0]]), intervals=True)
    assert (lost["map"], lost["macro_f1"], lost["macro_f1_ci"]) == (0, 0, [0, 0])
    assert math.isnan(lost["per_class"]["c0"]["threshold"])


def test_without_images_every_score_is_undefined() -> None:
    result = ManyLabelMetric(["a", "b"]).compute()
    assert all(math.isnan(result[name]) for name in ("map", "macro_f1"))
    assert all(math.isnan(end) for end in result["map_ci"] + result["macro_f1_ci"])
    assert result["images"] == 0


def test_truth_must_be_0_or_1() -> None:
    with pytest.raises(ValueError, match="several-hot truth is needed"):
        scores(np.array([[0.9, 0.1]]), np.array([[0.5, 1]]))
