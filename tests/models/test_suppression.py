"""Suppression against torchvision's own function, and what it spares those who start a command."""

import subprocess
import sys

import pytest
import torch
from torchvision.ops import nms

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
def test_it_keeps_what_torchvision_keeps(count: int, overlap: float) -> None:
    luck = torch.Generator().manual_seed(count)
    corner, side = 100 * torch.rand(count, 2, generator=luck), 50 * torch.rand(count, 2, generator=luck)
    boxes, score = torch.cat([corner, corner + side], dim=1), torch.rand(count, generator=luck)
    assert torch.equal(suppressed(boxes, score, overlap), nms(boxes, score, overlap))


def test_torchvision_itself_is_not_imported_and_can_be_afterwards() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
