"""Shares of agreement, counted by hand."""

import pytest
import torch

from vision_tasks.models.agreement import agreement, pooled
from vision_tasks.types import Boxes, Labels, Masks


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Boxes.single(table[:, :4], table[:, 4].long(), score=table[:, 5])


def test_labels_agree_by_their_first_class() -> None:
    one = Labels(torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.5, 0.4], [0.2, 0.8]]))
    other = Labels(torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.5], [0.0, 1.0]]))
    assert agreement(one, other) == (3, 4, 0.99)
    assert agreement(one, other).share == 0.75
    assert not agreement(one, other).enough
    assert agreement(one, one).enough


def test_masks_agree_by_pixels() -> None:
    one = torch.zeros(1, 10, 20, dtype=torch.uint8)
    other = one.clone()
    other[0, 0, 0] = 1
    assert agreement(Masks(one, 2), Masks(other, 2)) == (199, 200, 0.995)
    assert agreement(Masks(one, 2), Masks(other, 2)).enough


def test_boxes_agree_by_twins_of_their_class() -> None:
    first = (0.0, 0.0, 10.0, 10.0, 0, 0.9)
    moved = (0.0, 0.0, 10.0, 9.5, 0, 0.8)  # IoU 0.95
    far = (0.0, 0.0, 10.0, 8.0, 0, 0.8)  # 0.8
    renamed = (0.0, 0.0, 10.0, 10.0, 1, 0.9)
    faint = (50.0, 50.0, 60.0, 60.0, 0, 0.2)
    assert agreement(boxes(first), boxes(moved, faint)).share == 1
    assert agreement(boxes(first), boxes(far)).share == 0
    assert agreement(boxes(first), boxes(renamed)).share == 0
    assert agreement(boxes(first), boxes(moved, renamed)).share == pytest.approx(2 / 3)  # one has no twin
    assert agreement(boxes(faint), boxes()).share == 1
    just, not_quite = (0.0, 0.0, 10.0, 10.0, 0, 0.251), (0.0, 0.0, 10.0, 10.0, 0, 0.249)
    assert agreement(boxes(just), boxes(not_quite)) == (1, 1, 0.95)  # rounding is no disagreement
    assert agreement(boxes(just), boxes((*just[:5], 0.19))) == (0, 1, 0.95)
    assert agreement(boxes(first), boxes()).share == 0


def test_empty_images_do_not_speak_for_others() -> None:
    """One image without boxes beside one whose two boxes have no twins: nothing agrees, and not a half."""
    first, other = (0.0, 0.0, 10.0, 10.0, 0, 0.9), (30.0, 0.0, 40.0, 10.0, 0, 0.9)
    told = pooled([agreement(boxes(), boxes()), agreement(boxes(first), boxes(other))])
    assert told == (0, 2, 0.95)
    assert not told.enough
    assert pooled([agreement(boxes(), boxes())]).enough
