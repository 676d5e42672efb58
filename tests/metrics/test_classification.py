"""Against scikit-learn and torchmetrics, and by hand where they have no opinion."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.types import Labels


def scores(probability: torch.Tensor, label: list[int]) -> dict:
    classes = [f"c{i}" for i in range(probability.shape[1])]
    metric = ClassificationMetric(classes)
    for row, one in zip(probability, label, strict=True):
        metric.update(Labels(row[None]), Labels.one_hot(one, len(classes)), "1.jpg")
    return metric.compute()


@pytest.fixture(params=[(12, 300), (7, 40), (6, 5)], ids=lambda p: f"{p[0]}-classes-{p[1]}-images")
def case(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    classes, images = request.param
    generator = torch.Generator().manual_seed(classes)
    label = torch.randint(0, classes - 1, (images,), generator=generator)  # the last class never occurs in truth
    logits = torch.randn(images, classes, generator=generator) * 2
    logits[torch.arange(images), label] += 1.5
    return logits.softmax(dim=1), label


def test_equals_torchmetrics(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    probability, label = case
    ours = scores(probability, label.tolist())
    k = probability.shape[1]
    assert ours["top1"] == pytest.approx(multiclass_accuracy(probability, label, k, average="micro").item(), abs=1e-6)
    top5 = multiclass_accuracy(probability, label, k, average="micro", top_k=5).item()
    assert ours["top5"] == pytest.approx(top5, abs=1e-6)
    ece = multiclass_calibration_error(probability, label, k, n_bins=15, norm="l1").item()
    assert ours["ece"] == pytest.approx(ece, abs=1e-6)
    assert ours["accuracy"] == ours["top1"]
    assert ours["images"] == len(label)


def test_equals_sklearn(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    probability, label = case
    predicted = probability.argmax(dim=1)
    ours = scores(probability, label.tolist())
    assert ours["macro_f1"] == pytest.approx(f1_score(label, predicted, average="macro"), abs=1e-12)
    expected = precision_recall_fscore_support(
        label, predicted, labels=range(probability.shape[1]), zero_division=np.nan
    )
    for i, row in enumerate(ours["per_class"].values()):
        for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
            assert row[name] == pytest.approx(values[i], abs=1e-12, nan_ok=True)


def test_confusion_is_sklearns_with_truth_in_rows(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    probability, label = case
    classes = probability.shape[1]
    expected = confusion_matrix(label, probability.argmax(dim=1), labels=range(classes))
    confusion = np.array(scores(probability, label.tolist())["confusion"])
    np.testing.assert_array_equal(confusion[:, :classes], expected)
    assert not confusion[:, classes].any()


def test_a_class_that_is_only_predicted_pulls_macro_f1_down_and_an_absent_one_does_not() -> None:
    probability = torch.eye(4)[[0, 0, 1, 2]]
    result = scores(probability, [0, 0, 1, 1])  # class 2 is only predicted, class 3 occurs nowhere
    assert result["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert result["per_class"]["c2"]["f1"] == 0
    assert math.isnan(result["per_class"]["c3"]["f1"])


def test_five_classes_or_fewer_are_always_in_the_top_five() -> None:
    result = scores(torch.tensor([[0.9, 0.06, 0.04]]), [2])
    assert (result["top1"], result["top5"]) == (0, 1)


def test_a_constant_prediction_is_right_for_one_class_only() -> None:
    result = scores(torch.full((10, 10), 0.1), list(range(10)))
    assert (result["top1"], result["top5"]) == (0.1, 0.5)


def test_calibration_error_by_hand_at_the_ends_of_the_range() -> None:
    # Sure and right, sure and wrong, and 0.6 (a bin's upper border) twice, once right.
    probability = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4], [0.6, 0.4]], dtype=torch.float64)
    assert scores(probability, [0, 1, 0, 1])["ece"] == pytest.approx((abs(1 - 2) + abs(1 - 1.2)) / 4)


def test_a_prediction_that_is_not_finite_is_never_right() -> None:
    result = scores(torch.tensor([[math.nan] * 6, [math.inf, 0, 0, 0, 0, 0]]), [0, 0])
    assert (result["top1"], result["top5"], result["macro_f1"], result["ece"]) == (0, 0, 0, 0)
    assert result["confusion"][0] == [0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("truth", [[1.0, 1, 0], [0.9, 0.1, 0], [0, 0, 0], [0.5, 0, 0], [2, -1, 0]])
def test_truth_must_be_one_class(truth: list[float]) -> None:
    metric = ClassificationMetric(["a", "b", "c"])
    with pytest.raises(ValueError, match="one-hot truth is needed"):
        metric.update(Labels.one_hot(0, 3), Labels(torch.tensor([truth])), "1.jpg")


def test_without_images_every_score_is_undefined() -> None:
    result = ClassificationMetric(["a", "b"]).compute()
    assert all(math.isnan(result[name]) for name in ("top1", "accuracy", "top5", "macro_f1", "ece"))
    assert result["images"] == 0
    assert result["per_class"]["a"]["images"] == 0
