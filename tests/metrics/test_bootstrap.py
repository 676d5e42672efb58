"""Against resampling written out, one resample at a time; and on simulated data, whose truth is known."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from vision_tasks.metrics import bootstrap
from vision_tasks.metrics.bootstrap import RESAMPLES, estimate, sums_by
from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.metrics.ratios import mean_of_defined, ratio
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.types import Labels, Masks

SCORES = ("top1", "top5", "macro_f1", "ece")


def mean_of(values: np.ndarray):
    """The mean as a score of draws."""
    return lambda draws: {"mean": ratio(draws @ values, draws.sum(axis=1))}


def drawn(images: int) -> list[np.ndarray]:
    """The same images as the bootstrap draws, as lists of their numbers."""
    luck = np.random.default_rng(0)
    return [luck.integers(images, size=images) for _ in range(RESAMPLES)]


def classified(images: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(images)
    label = torch.randint(0, classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator)
    logits[torch.arange(images), label] += 1
    return logits.softmax(dim=1), label


def scored(probability: torch.Tensor, label: torch.Tensor, intervals: bool = True) -> dict:
    classes = probability.shape[1]
    metric = ClassificationMetric([f"c{i}" for i in range(classes)])
    for row, one in zip(probability, label.tolist(), strict=True):
        metric.update(Labels(row[None]), Labels.one_hot(one, classes), "1.jpg")
    return metric.compute(intervals)


def test_an_interval_is_the_percentiles_of_the_scores_of_resampled_images() -> None:
    probability, label = classified(20, 7)
    resampled = [scored(probability[draw], label[draw], intervals=False) for draw in drawn(20)]
    result = scored(probability, label)
    for name in SCORES:
        expected = np.percentile([each[name] for each in resampled], [2.5, 97.5])
        np.testing.assert_allclose(result[f"{name}_ci"], expected, rtol=0, atol=1e-12)
    f1 = [f1_score(label[draw], probability[draw].argmax(dim=1), average="macro") for draw in drawn(20)[:50]]
    np.testing.assert_allclose([each["macro_f1"] for each in resampled[:50]], f1, rtol=0, atol=1e-12)


def test_intervals_of_masks_are_those_of_resampled_images() -> None:
    generator = torch.Generator().manual_seed(5)
    truth = torch.randint(0, 3, (12, 6, 6), generator=generator, dtype=torch.uint8)
    noise = torch.randint(0, 4, (12, 6, 6), generator=generator, dtype=torch.uint8)  # 3 is no class
    predicted = torch.where(torch.rand(12, 6, 6, generator=generator) < 0.5, truth, noise)
    truth[3] = 255  # an image of which nothing counts

    def over(images: list[int], intervals: bool) -> dict:
        metric = SegmentationMetric(["a", "b", "c"])
        for i in images:
            metric.update(Masks(predicted[i : i + 1], 3), Masks(truth[i : i + 1], 3), "1.png")
        return metric.compute(intervals)

    resampled = [over(draw.tolist(), False) for draw in drawn(12)]
    result = over(list(range(12)), True)
    for name in ("miou", "iou", "dice", "pixel_accuracy", "miou_per_image"):
        expected = np.percentile([each[name] for each in resampled], [2.5, 97.5])
        np.testing.assert_allclose(result[f"{name}_ci"], expected, rtol=0, atol=1e-12)
        assert result[f"{name}_ci"][0] < result[name] < result[f"{name}_ci"][1]


def test_parts_that_fit_into_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).integers(100, size=50)  # whose sums are exact in any order
    whole = estimate(50, mean_of(values), True)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 50 * 7)  # 7 resamples at a time: 1000 is no multiple of it
    assert estimate(50, mean_of(values), True) == whole


def test_the_interval_of_a_mean_is_the_one_of_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=400)
    result = estimate(400, mean_of(values), True)
    margin = 1.96 * values.std() / math.sqrt(400)
    np.testing.assert_allclose(result["mean_ci"], [values.mean() - margin, values.mean() + margin], atol=margin * 0.1)


def test_19_of_20_intervals_hold_the_true_accuracy() -> None:
    rights = np.random.default_rng(3).random((200, 100)) < 0.8
    intervals = np.array([estimate(100, mean_of(right.astype(float)), True)["mean_ci"] for right in rights])
    covered = ((intervals[:, 0] <= 0.8) & (intervals[:, 1] >= 0.8)).mean()
    assert 0.90 <= covered <= 0.99  # 0.95 with a standard error of 0.015


def test_a_score_that_is_the_same_for_all_images_has_an_interval_without_width() -> None:
    result = scored(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0]))
    assert (result["top1"], result["top1_ci"], result["ece_ci"]) == (1, [1, 1], [0, 0])
    assert result["macro_f1_ci"] == [1, 1]  # a class that a resample lacks is left out there


@pytest.mark.parametrize("images", [0, 1])
def test_one_image_or_none_says_nothing_about_others(images: int) -> None:
    result = scored(torch.eye(3)[:images], torch.arange(images))
    assert all(math.isnan(end) for name in SCORES for end in result[f"{name}_ci"])


def test_resamples_in_which_a_score_is_undefined_are_left_out() -> None:
    truth = torch.tensor([[[0, 0]], [[255, 255]]], dtype=torch.uint8)  # the second has no pixel that counts
    metric = SegmentationMetric(["a", "b"])
    for one in truth:
        metric.update(Masks(torch.zeros(1, 1, 2, dtype=torch.uint8), 2), Masks(one[None], 2), "1.png")
    assert metric.compute()["miou_ci"] == [1, 1]
    empty = SegmentationMetric(["a", "b"])
    for _ in range(2):
        empty.update(Masks(truth[:1], 2), Masks(truth[1:], 2), "1.png")
    assert all(math.isnan(end) for end in empty.compute()["miou_ci"])


def test_without_intervals_there_are_none() -> None:
    probability, label = classified(9, 3)
    with_them, without = scored(probability, label), scored(probability, label, intervals=False)
    assert without == {name: value for name, value in with_them.items() if not name.endswith("_ci")}


def test_sums_by_index() -> None:
    draws = np.array([[1.0, 1, 1], [0, 2, 1]])
    index = np.array([2, 0, 2])
    assert sums_by(draws, index, 4).tolist() == [[1, 0, 2, 0], [2, 0, 1, 0]]
    assert sums_by(draws, index, 3, np.array([0.5, 3, 1])).tolist() == [[3, 0, 1.5], [6, 0, 1]]


def test_ratios_and_means_of_what_is_defined() -> None:
    np.testing.assert_array_equal(ratio(np.array([1.0, 0]), np.array([4.0, 0])), [0.25, np.nan])
    means = mean_of_defined(np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(means, [2, np.nan])
