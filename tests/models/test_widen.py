"""First layers for other channels: activations keep their size."""

import pytest
import torch
from torch.nn import functional as F

from vision_tasks.models.widen import widen


def test_filters_by_hand() -> None:
    red, green, blue = 1.0, 2.0, 6.0
    weight = torch.tensor([red, green, blue]).view(1, 3, 1, 1)
    assert widen(weight, 5).flatten().tolist() == pytest.approx([0.6, 1.2, 3.6, 1.8, 1.8])
    assert widen(weight, 2).flatten().tolist() == pytest.approx([4.5, 4.5])
    assert widen(weight, 1).flatten().tolist() == pytest.approx([9.0])
    assert torch.equal(widen(weight, 3), weight)


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_a_grey_image_gives_the_activations_it_gave(channels: int) -> None:
    weight, grey = torch.randn(8, 3, 7, 7), torch.rand(2, 1, 20, 20)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), weight)
    found = F.conv2d(grey.expand(-1, channels, -1, -1), widen(weight, channels))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
