"""The panels pixel by pixel, where no legend is."""

import numpy as np
import pytest
import torch

from vision_tasks.tasks import comparison
from vision_tasks.tasks.comparison import masks_beside
from vision_tasks.tasks.drawing import class_colour
from vision_tasks.types import IGNORE, Masks

SIDE = 560
CLASSES = ("background", "ant", "bee")


def panels(
    truth: list[list[int]], predicted: list[list[int]], classes: tuple[str, ...] = CLASSES, grey: int = 100
) -> list[np.ndarray]:
    """Image, truth, prediction and errors, each [h,w,3] by one pixel of what a pixel of the image became."""
    index = [torch.tensor(rows, dtype=torch.uint8)[None] for rows in (predicted, truth)]
    height, width = index[0].shape[1:]
    pixels = np.full((height, width, 3), grey, np.uint8)
    row = masks_beside(pixels, *(Masks(each, len(classes)) for each in index), classes, "1. miou 0.5: a.jpg")
    factor = SIDE // max(height, width)
    half = factor // 2
    assert row.shape[1] == 4 * width * factor
    return [row[half : height * factor : factor, left + half : left + width * factor : factor]
            for left in range(0, row.shape[1], width * factor)]  # fmt: skip


def faint(grey: int) -> list[int]:
    return [grey // 2 + 64] * 3


def test_each_kind_of_error_has_its_colour() -> None:
    truth = [[0, 1, 0, 1, 2, IGNORE], [0, 0, 0, 0, 0, 0]]
    predicted = [[0, 0, 1, 2, IGNORE, 1], [0, 0, 0, 0, 0, 0]]
    image, _, _, errors = panels(truth, predicted)
    assert (image == 100).all()
    missed, alarm, other = comparison._MISSED, comparison._FALSE_ALARM, comparison._OTHER_CLASS
    expected = [faint(100), missed, alarm, other, missed, comparison._NOT_COUNTED]
    assert errors[0].tolist() == [list(colour) for colour in expected]
    assert errors[1].tolist() == [faint(100)] * 6


def test_classes_have_the_colours_of_drawings_and_background_is_left_as_it_is() -> None:
    _, truth, predicted, _ = panels([[0, 1], [2, IGNORE]], [[1, 0], [0, 0]])
    blend = np.rint(0.4 * 100 + 0.6 * np.array([class_colour(1), class_colour(2), comparison._NO_CLASS], float))
    assert truth[0, 0].tolist() == [100, 100, 100]
    np.testing.assert_allclose([truth[0, 1], truth[1, 0], truth[1, 1]], blend, atol=1)
    np.testing.assert_allclose(predicted[0, 0], blend[0], atol=1)
    assert (predicted.reshape(-1, 3)[1:] == 100).all()


def test_without_a_background_one_class_is_taken_for_another() -> None:
    *_, errors = panels([[0, 1, 1]], [[1, 1, IGNORE]], ("sky", "sea"))
    assert errors[0].tolist() == [list(comparison._OTHER_CLASS), faint(100), list(comparison._MISSED)]


def test_nothing_wrong_and_nothing_counted_can_be_drawn() -> None:
    for truth in ([[1, 1]], [[IGNORE, IGNORE]]):
        *_, errors = panels(truth, [[1, 1]])
        assert comparison._OTHER_CLASS not in errors.reshape(-1, 3).tolist()


@pytest.mark.parametrize("size", [(1, 1), (40, 900), (900, 40), (1200, 1600)])
def test_a_row_fits_a_screen_for_any_size(size: tuple[int, int]) -> None:
    luck = np.random.default_rng(0)
    index = torch.from_numpy(luck.integers(0, 3, size).astype(np.uint8))[None]
    title = "1. miou 0.123: " + "a/very/long/path/" * 20 + "x.jpg"
    row = masks_beside(np.zeros((*size, 3), np.uint8), Masks(index, 3), Masks(index, 3), CLASSES, title)
    assert row.shape[0] <= 700
    assert row.shape[1] <= 4 * SIDE + 200


def test_what_is_drawn_changes_nothing() -> None:
    pixels, index = np.full((3, 3, 3), 7, np.uint8), torch.ones(1, 3, 3, dtype=torch.uint8)
    masks_beside(pixels, Masks(index, 3), Masks(1 - index, 3), CLASSES, "")
    assert (pixels == 7).all()
    assert (index == 1).all()
