"""Against an erosion of each class for itself, as the paper's authors do it, and by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from vision_tasks.metrics.boundary import near_boundary
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.types import IGNORE, Masks


def eroded_away(mask: np.ndarray) -> np.ndarray:
    """The pixels of one class that an erosion takes away; what is outside the image belongs to no class."""
    steps = max(1, round(0.02 * float(np.hypot(*mask.shape))))
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=steps, border_value=0)


def slow_boundary_iou(predicted: list[np.ndarray], truth: list[np.ndarray], classes: int) -> np.ndarray:
    """Of each class over all images [K]."""
    both, either = np.zeros(classes), np.zeros(classes)
    for p, t in zip(predicted, truth, strict=True):
        seen = np.where(t == IGNORE, IGNORE, p)
        for k in range(classes):
            ours, theirs = eroded_away(seen == k), eroded_away(t == k)
            both[k] += (ours & theirs).sum()
            either[k] += (ours | theirs).sum()
    with np.errstate(invalid="ignore"):
        return both / either


def patches(size: tuple[int, int], classes: int, luck: np.random.Generator) -> np.ndarray:
    """Discs of random classes over one another."""
    y, x = np.mgrid[: size[0], : size[1]]
    index = np.full(size, luck.integers(classes), np.uint8)
    for _ in range(12):
        row, column = luck.integers(size[0]), luck.integers(size[1])
        index[(y - row) ** 2 + (x - column) ** 2 < (max(size) / luck.uniform(3, 12)) ** 2] = luck.integers(classes)
    return index


SIZES = ((1, 1), (1, 40), (37, 1), (2, 3), (60, 90), (300, 211), (128, 128))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_bands_of_all_classes_are_what_erosions_take_away(size: tuple[int, int]) -> None:
    index = patches(size, 4, np.random.default_rng(size))
    expected = np.full(size, IGNORE, np.uint8)
    for k in range(4):
        expected[eroded_away(index == k)] = k
    before = index.copy()
    np.testing.assert_array_equal(near_boundary(torch.from_numpy(index)).numpy(), expected)
    np.testing.assert_array_equal(index, before)


def test_the_score_equals_the_slow_one_with_ignored_regions_and_absent_classes() -> None:
    luck = np.random.default_rng(5)
    predicted, truth = [], []
    for size in SIZES:
        t, noise = patches(size, 4, luck), patches(size, 5, luck)
        predicted.append(np.where(patches(size, 3, luck) == 0, noise, t))
        truth.append(np.where(patches(size, 5, luck) == 0, IGNORE, t).astype(np.uint8))
    truth[4][:] = IGNORE
    predicted[5][:20] = IGNORE
    metric = SegmentationMetric([f"c{k}" for k in range(6)])
    for p, t in zip(predicted, truth, strict=True):
        metric.update(*(Masks(torch.from_numpy(each.astype(np.uint8))[None], 6) for each in (p, t)), "1.png")
    found = metric.compute(intervals=False)
    expected = slow_boundary_iou(predicted, truth, 6)
    assert expected[4] == 0  # is only predicted
    np.testing.assert_allclose([row["boundary_iou"] for row in found["per_class"].values()], expected, rtol=1e-12)
    assert found["boundary_iou"] == pytest.approx(np.nanmean(expected), rel=1e-12)


def test_one_column_by_hand() -> None:
    """Of 5 x 5 pixels, the boundary is one pixel wide: 16 of truth, 14 of what is predicted, 11 of both."""
    truth, predicted = torch.zeros(1, 5, 5, dtype=torch.uint8), torch.zeros(1, 5, 5, dtype=torch.uint8)
    predicted[..., 4] = 1
    metric = SegmentationMetric(["a", "b"])
    metric.update(Masks(predicted, 2), Masks(truth, 2), "1.png")
    found = metric.compute(intervals=False)
    assert found["per_class"]["a"]["boundary_iou"] == 11 / 19
    assert found["per_class"]["b"]["boundary_iou"] == 0
    assert found["boundary_iou"] == 11 / 38


def test_a_shifted_outline_costs_more_than_the_same_pixels_inside() -> None:
    truth = torch.zeros(1, 200, 200, dtype=torch.uint8)
    truth[:, 40:160, 40:160] = 1
    shifted, hole = truth.roll(3, 2), truth.clone()
    hole[:, 87:114, 87:114] = 0  # 729 pixels are wrong, and 720 of the shifted
    found = []
    for predicted in (shifted, hole):
        metric = SegmentationMetric(["ground", "square"])
        metric.update(Masks(predicted, 2), Masks(truth, 2), "1.png")
        found.append(metric.compute(intervals=False))
    assert found[0]["miou"] == pytest.approx(found[1]["miou"], abs=0.005)
    assert found[0]["boundary_iou"] < found[1]["boundary_iou"] - 0.05
