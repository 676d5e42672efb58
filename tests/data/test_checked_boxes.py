"""The checks that boxes of every format go through; expectations are worked out by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from vision_tasks.data.readers.checked_boxes import BoxList, Edges, pixel_truth, share_truth, size_of
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError

NAN, INF = float("nan"), float("inf")
ENDLESS = "has a corner that is no finite number: dropped"
NO_AREA = "has no area: dropped"
OUTSIDE = "lies outside the image of 80x60: dropped"
CLIPPED = "reaches outside the image of 80x60: clipped"


@pytest.mark.parametrize(
    ("edges", "left", "problem"),
    [
        ((0, 0, 80, 60), (0, 0, 80, 60), ""),
        ((-1, 5, 20, 30), (0, 5, 20, 30), CLIPPED),
        ((10, -7, 20, 30), (10, 0, 20, 30), CLIPPED),
        ((70, 50, 80.5, 60), (70, 50, 80, 60), CLIPPED),
        ((-9, -9, 99, 99), (0, 0, 80, 60), CLIPPED),
        ((70, 50, 80.01, 60.01), (70, 50, 80, 60), ""),  # 69.995 + 10.015, each rounded
        ((80, 10, 90, 20), None, OUTSIDE),
        ((-20, 10, 0, 20), None, OUTSIDE),
        ((79.99999, 10, 100, 30), None, OUTSIDE),  # a hundred-thousandth of a pixel is left
        ((10, 60, 20, 61), None, OUTSIDE),
        ((10, 10, 10, 20), None, NO_AREA),
        ((10, 20, 20, 20), None, NO_AREA),
        ((20, 10, 10, 20), None, NO_AREA),
        ((50, 10, 50 + 1e-6, 20), None, NO_AREA),  # float32 can't tell the sides apart
        ((NAN, 10, 20, 20), None, ENDLESS),
        ((10, 10, 20, INF), None, ENDLESS),
        ((-INF, 10, 20, 20), None, ENDLESS),
    ],
)
def test_one_box(edges: Edges, left: Edges | None, problem: str) -> None:
    boxes = BoxList.in_pixels((60, 80))
    assert boxes.add(edges, 3) == problem
    truth = boxes.checked().in_pixels()
    assert truth.xyxy.tolist() == [[list(left)] if left else []]
    assert truth.label.tolist() == [[3] if left else []]
    assert truth.xyxy.dtype == torch.float64
    assert bool((truth.xyxy[..., 2:] > truth.xyxy[..., :2]).all())


def test_what_is_listed_twice_is_kept_once_and_only_that() -> None:
    boxes = BoxList.in_pixels((60, 80))
    rows = [((1, 2, 3, 4), 0, False), ((1, 2, 3, 4), 1, False), ((1, 2, 3, 4), 0, True), ((1, 2, 3, 5), 0, False)]
    assert [boxes.add(*row) for row in (*rows, rows[0])] == ["", "", "", "", "is listed twice: kept once"]
    truth = boxes.checked().in_pixels()
    assert truth.label.tolist() == [[0, 1, 0, 0]]
    assert truth.crowd.tolist() == [[False, False, True, False]]


def test_areas_stay_with_their_boxes() -> None:
    boxes = BoxList.in_pixels((60, 80))
    boxes.add((5, 5, 5, 9), 0, area=1)
    boxes.add((0, 0, 4, 4), 0, area=7.5)
    boxes.add((0, 0, 4, 4), 0, area=8)
    boxes.add((0, 0, 5, 5), 1)
    area = boxes.checked().in_pixels().area
    assert area is not None
    assert area.tolist() == [[7.5, pytest.approx(NAN, nan_ok=True)]]


def test_shares_become_pixels_of_the_image() -> None:
    boxes = BoxList.in_shares()
    assert boxes.add((0.25, 0.5, 0.5, 1.00005), 1) == ""
    assert boxes.add((0.5, 0.5, 1.01, 0.75), 0) == "reaches outside the image: clipped"
    assert boxes.add((1, 0.5, 1.5, 0.75), 0) == "lies outside the image: dropped"
    truth = share_truth(boxes.checked(), Path("unused.jpg"), (60, 80))
    assert truth.xyxy.tolist() == [[[20, 30, 40, 60], [40, 30, 80, 45]]]


def test_an_image_of_unknown_size_ends_nowhere_but_begins_at_0() -> None:
    boxes = BoxList.in_pixels(None)
    assert boxes.add((-3, 0, 5000, 7), 0) == "reaches outside the image: clipped"
    assert boxes.checked().in_pixels().xyxy.tolist() == [[[0, 0, 5000, 7]]]


def test_the_truth_is_not_changed_through_what_was_handed_out() -> None:
    boxes = BoxList.in_pixels((60, 80))
    boxes.add((1, 2, 3, 4), 1, True)
    checked = boxes.checked()
    first = checked.in_pixels()
    for tensor in (first.xyxy, first.label, first.crowd):
        tensor.fill_(0)
    second = checked.in_pixels()
    assert (second.xyxy.tolist(), second.label.tolist(), second.crowd.tolist()) == ([[[1, 2, 3, 4]]], [[1]], [[True]])


def test_boxes_for_another_size_than_the_images_are_no_truth() -> None:
    checked = BoxList.in_pixels((60, 80)).checked()
    assert len(pixel_truth(checked, "a.json, 1.jpg", (60, 80), (60, 80)).label[0]) == 0
    pixel_truth(checked, "a.json, 1.jpg", (60, 80), None)
    pixel_truth(checked, "a.json, 1.jpg", None, (80, 60))
    with pytest.raises(DecodeError, match=r"\(a.json, 1.jpg\) is for 80x60, the image is 60x80, .* EXIF"):
        pixel_truth(checked, "a.json, 1.jpg", (60, 80), (80, 60))
    with pytest.raises(DecodeError, match=r"is for 80x60, the image is 81x60; mend"):
        pixel_truth(checked, "a.json, 1.jpg", (60, 80), (60, 81))


def test_sizes_are_those_after_exif_rotation(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "plain.png"), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    assert size_of(tmp_path / "plain.png") == (6, 8)
    assert size_of(tmp_path / "turned.jpg") == (8, 6)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.jpg: can't be opened"):
        size_of(tmp_path / "broken.jpg")
