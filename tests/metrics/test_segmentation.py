"""Against torchmetrics, hotcoco and scikit-learn, and by hand."""

import math

import numpy as np
import pytest
import torch
from hotcoco.semantic import SemanticEval
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multiclass_jaccard_index
from torchmetrics.segmentation import DiceScore, MeanIoU

from vision_tasks.errors import UserError
from vision_tasks.metrics.segmentation import WORST, SegmentationMetric
from vision_tasks.types import IGNORE, Masks


def scores(predicted: list[torch.Tensor], truth: list[torch.Tensor], classes: int) -> dict:
    metric = SegmentationMetric([f"c{i}" for i in range(classes)])
    for i, (p, t) in enumerate(zip(predicted, truth, strict=True)):
        metric.update(Masks(p[None].to(torch.uint8), classes), Masks(t[None].to(torch.uint8), classes), f"{i}.png")
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


def blocks(size: tuple[int, int], low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Squares of one class each."""
    small = torch.randint(low, high, (-(-size[0] // 5), -(-size[1] // 5)), generator=generator)
    return small.repeat_interleave(5, 0).repeat_interleave(5, 1)[: size[0], : size[1]].to(torch.uint8)


def hard_cases() -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """Of seven classes, 5 is only predicted and 6 occurs nowhere; ignored regions, whole images and single pixels."""
    generator = torch.Generator().manual_seed(7)
    predicted, truth = [], []
    for size in ((1, 1), (1, 9), (23, 31), (40, 8), (16, 16), (1, 1), (64, 64)):
        t = blocks(size, 0, 5, generator)
        noise = blocks(size, 0, 6, generator)
        predicted.append(torch.where(blocks(size, 0, 2, generator) == 0, t, noise))
        truth.append(torch.where(blocks(size, 0, 6, generator) == 0, IGNORE, t))
    truth[4].fill_(IGNORE)
    truth[0].fill_(IGNORE)
    truth[5].fill_(3)
    return predicted, truth, 7


def test_hard_cases_equal_hotcoco_and_torchmetrics() -> None:
    predicted, truth, classes = hard_cases()
    ours = scores(predicted, truth, classes)
    peer = SemanticEval(classes)
    for p, t in zip(predicted, truth, strict=True):
        peer.update(t.numpy(), p.numpy())
    peer.summarize()
    metrics = peer.report()["metrics"]
    assert ours["miou"] == pytest.approx(metrics["mIoU"], abs=1e-12)
    assert ours["pixel_accuracy"] == pytest.approx(metrics["aAcc"], abs=1e-12)
    assert [row[:-1] for row in ours["confusion"]] == peer.confusion().tolist()
    assert [row[-1] for row in ours["confusion"]] == [0] * classes
    options = {"num_classes": classes, "ignore_index": IGNORE}
    flat = (torch.cat([p.flatten() for p in predicted]), torch.cat([t.flatten() for t in truth]))
    assert ours["miou"] == pytest.approx(multiclass_jaccard_index(*flat, **options).item(), abs=1e-6)
    assert ours["dice"] == pytest.approx(multiclass_f1_score(*flat, **options, average="macro").item(), abs=1e-6)
    each = [
        multiclass_jaccard_index(p, t, **options).item()
        for p, t in zip(predicted, truth, strict=True)
        if (t != IGNORE).any()
    ]
    assert ours["miou_per_image"] == pytest.approx(np.mean(each), abs=1e-6)
    assert ours["per_class"]["c5"]["iou"] == ours["per_class"]["c5"]["pixels"] == 0
    assert math.isnan(ours["per_class"]["c6"]["iou"])


def test_every_score_has_its_interval() -> None:
    found = scores(*hard_cases())
    for name in ("miou", "iou", "dice", "pixel_accuracy", "miou_per_image", "boundary_iou"):
        low, high = found[f"{name}_ci"]
        assert 0 <= low <= found[name] <= high <= 1
        assert low < high


def test_the_worst_images_are_named_the_worst_first() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = [torch.randint(0, 2, (6, 6), generator=generator) for _ in range(12)]
    predicted = [torch.where(torch.arange(36).view(6, 6) < 3 * i, 1 - t, t) for i, t in enumerate(truth)]
    truth[11] = torch.full((6, 6), IGNORE)
    found = scores(predicted, truth, 2)["worst"]
    assert [row["image"] for row in found] == [f"{i}.png" for i in range(10, 10 - WORST, -1)]
    expected = [multiclass_jaccard_index(predicted[i], truth[i], num_classes=2).item() for i in range(10, 2, -1)]
    assert [row["miou"] for row in found] == pytest.approx(expected, abs=1e-6)


def test_the_confusion_matrix_by_hand() -> None:
    predicted = [grid([0, IGNORE, 1]), grid([1, 1, 0])]
    truth = [grid([0, 0, IGNORE]), grid([1, 0, 2])]
    assert scores(predicted, truth, 3)["confusion"] == [[1, 1, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]


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
    assert result["per_class"]["c0"] == {"iou": 1 / 2, "dice": 2 / 3, "boundary_iou": 1 / 2, "pixels": 2}
    assert result["per_class"]["c1"] == {"iou": 2 / 3, "dice": 4 / 5, "boundary_iou": 2 / 3, "pixels": 2}
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
    assert result["miou"] == result["pixel_accuracy"] == result["miou_per_image"] == result["boundary_iou"] == 1


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
    keys = ("miou", "iou", "dice", "pixel_accuracy", "miou_per_image", "boundary_iou")
    assert all(math.isnan(result[key]) for key in keys)
    assert (result["images"], result["confusion"], result["worst"]) == (0, [[0, 0, 0], [0, 0, 0]], [])


def test_without_boundaries_the_other_scores_are_the_same() -> None:
    predicted, truth, classes = hard_cases()
    metric = SegmentationMetric([f"c{i}" for i in range(classes)], boundary=False)
    for i, (p, t) in enumerate(zip(predicted, truth, strict=True)):
        metric.update(Masks(p[None], classes), Masks(t[None], classes), f"{i}.png")
    found, whole = metric.compute(), scores(predicted, truth, classes)
    assert set(whole) - set(found) == {"boundary_iou", "boundary_iou_ci"}
    assert all(np.array_equal(found[key], whole[key], equal_nan=True) for key in found if isinstance(found[key], float))
    assert found["confusion"] == whole["confusion"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_counts_as_the_cpu_does() -> None:
    predicted, truth, classes = hard_cases()
    metric = SegmentationMetric([f"c{i}" for i in range(classes)])
    for i, (p, t) in enumerate(zip(predicted, truth, strict=True)):
        metric.update(Masks(p[None].cuda(), classes), Masks(t[None], classes), f"{i}.png")
    np.testing.assert_equal(metric.compute(), scores(predicted, truth, classes))


def test_unequal_sizes_and_unknown_truth_are_errors() -> None:
    with pytest.raises(UserError, match=r"^0\.png: its predicted mask is 3x1 pixels, but its truth is 2x1; predict "):
        scores([grid([0, 1, 1])], [grid([0, 1])], 2)
    with pytest.raises(ValueError, match="beyond the 2 known"):
        scores([grid([0, 1])], [grid([0, 2])], 2)
