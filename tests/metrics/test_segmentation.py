"""Against torchmetrics and scikit-learn, and by hand."""

import math

import pytest
import torch
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multiclass_jaccard_index
from torchmetrics.segmentation import DiceScore, MeanIoU

from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.types import IGNORE, Masks


def scores(predicted: list[torch.Tensor], truth: list[torch.Tensor], classes: int) -> dict:
    metric = SegmentationMetric([f"c{i}" for i in range(classes)])
    for p, t in zip(predicted, truth, strict=True):
        metric.update(Masks(p[None].to(torch.uint8), classes), Masks(t[None].to(torch.uint8), classes), "1.png")
    return metric.compute()


def grid(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.uint8)


@pytest.fixture(params=[2, 5, 254])
def case(request: pytest.FixtureRequest) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    classes = request.param
    generator = torch.Generator().manual_seed(classes)
    truth, predicted = [], []
    for size in ((30, 41), (8, 8), (64, 50)):
        t = torch.randint(0, classes, size, generator=generator)
        noise = torch.randint(0, classes, size, generator=generator)
        predicted.append(torch.where(torch.rand(size, generator=generator) < 0.6, t, noise))
        truth.append(torch.where(torch.rand(size, generator=generator) < 0.1, IGNORE, t))
    return predicted, truth, classes


def test_equals_torchmetrics_over_the_data_set(case: tuple) -> None:
    predicted, truth, classes = case
    flat = (torch.cat([p.flatten() for p in predicted]), torch.cat([t.flatten() for t in truth]))
    ours = scores(*case)
    options = {"num_classes": classes, "ignore_index": IGNORE}
    iou = multiclass_jaccard_index(*flat, **options)
    assert ours["miou"] == ours["iou"] == pytest.approx(iou.item(), abs=1e-6)
    dice = multiclass_f1_score(*flat, **options, average="macro")
    assert ours["dice"] == pytest.approx(dice.item(), abs=1e-6)
    accuracy = multiclass_accuracy(*flat, **options, average="micro")
    assert ours["pixel_accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)
    each = multiclass_jaccard_index(*flat, **options, average="none")
    for row, expected in zip(ours["per_class"].values(), each.tolist(), strict=True):
        assert row["iou"] == pytest.approx(expected, abs=1e-6)


def test_equals_torchmetrics_per_image_and_its_dice_score() -> None:
    generator = torch.Generator().manual_seed(3)
    truth = list(torch.randint(0, 4, (6, 20, 20), generator=generator))
    predicted = list(torch.randint(0, 4, (6, 20, 20), generator=generator))
    ours = scores(predicted, truth, 4)
    per_image = MeanIoU(num_classes=4, input_format="index")
    dice = DiceScore(num_classes=4, input_format="index", average="macro", aggregation_level="global")
    for metric in (per_image, dice):
        metric.update(torch.stack(predicted), torch.stack(truth))
    assert ours["miou_per_image"] == pytest.approx(per_image.compute().item(), abs=1e-6)
    assert ours["dice"] == pytest.approx(dice.compute().item(), abs=1e-6)


def test_pixels_of_a_class_equal_sklearn(case: tuple) -> None:
    predicted, truth, classes = case
    matrix = confusion_matrix(
        torch.cat([t.flatten() for t in truth]),
        torch.cat([p.flatten() for p in predicted]),
        labels=range(classes),
    )
    assert [row["pixels"] for row in scores(*case)["per_class"].values()] == matrix.sum(axis=1).tolist()


def test_two_by_two_by_hand() -> None:
    result = scores([grid([0, 1], [1, 1])], [grid([0, 0], [1, 1])], 2)
    assert result["per_class"]["c0"] == {"iou": 1 / 2, "dice": 2 / 3, "pixels": 2}
    assert result["per_class"]["c1"] == {"iou": 2 / 3, "dice": 4 / 5, "pixels": 2}
    assert result["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["dice"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert result["pixel_accuracy"] == 3 / 4


def test_over_the_data_set_is_not_the_mean_over_images() -> None:
    predicted = [grid([0, 0], [0, 0]), grid([0, 1], [1, 1])]
    truth = [grid([0, 0], [0, 0]), grid([0, 0], [1, 1])]
    result = scores(predicted, truth, 2)
    assert result["miou"] == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert result["miou_per_image"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_a_class_that_occurs_nowhere_is_left_out_and_one_only_predicted_counts_zero() -> None:
    absent = scores([grid([0, 0], [1, 1])], [grid([0, 0], [1, 1])], 3)
    assert absent["miou"] == 1
    assert math.isnan(absent["per_class"]["c2"]["iou"])
    claimed = scores([grid([0, 0], [1, 2])], [grid([0, 0], [1, 1])], 3)
    assert claimed["per_class"]["c2"]["iou"] == 0
    assert claimed["miou"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_ignored_truth_counts_nowhere() -> None:
    result = scores([grid([0, 1], [1, 0])], [grid([0, IGNORE], [1, IGNORE])], 2)
    assert result["miou"] == result["pixel_accuracy"] == result["miou_per_image"] == 1


def test_predicting_nothing_where_truth_has_a_class_is_a_miss_and_no_false_alarm() -> None:
    result = scores([grid([0, IGNORE], [1, 1])], [grid([0, 0], [1, 1])], 2)
    assert result["per_class"]["c0"]["iou"] == 1 / 2
    assert result["per_class"]["c1"]["iou"] == 1
    assert result["pixel_accuracy"] == 3 / 4


def test_an_image_of_ignored_pixels_only_does_not_count_per_image() -> None:
    nothing = grid([IGNORE, IGNORE])
    result = scores([grid([0, 1]), grid([0, 1])], [nothing, grid([0, 1])], 2)
    assert (result["miou_per_image"], result["images"]) == (1, 2)


def test_without_images_every_score_is_undefined() -> None:
    result = SegmentationMetric(["a", "b"]).compute()
    assert all(math.isnan(result[key]) for key in ("miou", "iou", "dice", "pixel_accuracy", "miou_per_image"))
    assert result["images"] == 0


def test_unequal_sizes_and_unknown_truth_are_errors() -> None:
    with pytest.raises(ValueError, match="compared with"):
        scores([grid([0, 1, 1])], [grid([0, 1])], 2)
    with pytest.raises(ValueError, match="beyond the 2 known"):
        scores([grid([0, 1])], [grid([0, 2])], 2)
