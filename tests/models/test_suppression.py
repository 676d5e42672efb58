"""Suppression against its definition in float64, and what it spares those who start a command."""

import subprocess
import sys

import pytest
import torch
from torchvision.ops import box_iou

from vision_tasks.models.suppression import suppressed

SCRIPT = """
import sys, torch
from vision_tasks.models.suppression import suppressed
boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30.]])
assert suppressed(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist() == [1, 2]
assert "torchvision" not in sys.modules
from torchvision.ops import nms
assert nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist() == [1, 2]
"""


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_the_best_stay_and_what_overlaps_them_goes(count: int, overlap: float) -> None:
    luck = torch.Generator().manual_seed(count)
    corner, side = 100 * torch.rand(count, 2, generator=luck), 50 * torch.rand(count, 2, generator=luck)
    boxes, score = torch.cat([corner, corner + side], dim=1), torch.rand(count, generator=luck)
    shared = box_iou(boxes.double(), boxes.double())
    stay: list[int] = []
    for number in score.argsort(descending=True).tolist():
        if not any(shared[number, better] > overlap for better in stay):
            stay.append(number)
    assert suppressed(boxes, score, overlap).tolist() == stay


def test_torchvision_itself_is_not_imported_and_can_be_afterwards() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
