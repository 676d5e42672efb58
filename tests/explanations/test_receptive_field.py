"""Against the arithmetic of sizes, strides and paddings, done by hand and by its recurrence."""

import pytest
import torch
from torch import Tensor, nn

from vision_tasks.explanations.layers import layers_of, maps_of
from vision_tasks.explanations.receptive_field import receptive_fields
from vision_tasks.models.registry import create_model

Steps = list[tuple[int, int, int]]  # kernel, stride, padding of each layer


def by_arithmetic(steps: Steps, place: int, side: int) -> tuple[int, int]:
    """First and last pixel (exclusive) that `place` sees: from the last layer back to the first."""
    first = last = place
    for kernel, stride, padding in reversed(steps):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return max(first, 0), min(last, side - 1) + 1


def fields(net: nn.Module, places: list[tuple[int, int]], size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    with torch.no_grad():
        return receptive_fields(lambda images: net(images)[:, 0], torch.zeros(1, 3, *size), places)


def test_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 3, padding=1))
    # A place of the last layer sees 3 of the pooled, 6 of the first maps, 8 pixels; neighbours are 2 pixels apart.
    found = fields(net, [(4, 4), (4, 5), (0, 0), (8, 3)], (20, 20))
    assert found == [(6, 6, 14, 14), (8, 6, 16, 14), (0, 0, 6, 6), (4, 14, 12, 20)]


def test_a_canvas_that_is_no_square() -> None:
    net = nn.Conv2d(3, 1, (5, 1), stride=(3, 2))
    assert fields(net, [(1, 4)], (20, 30)) == [(8, 3, 9, 8)]


def test_weights_do_not_matter() -> None:
    net = nn.Conv2d(3, 1, 5)
    nn.init.zeros_(net.weight)
    assert fields(net, [(2, 3)], (12, 12)) == [(3, 2, 8, 7)]


def test_a_dilated_layer_beside_a_direct_way() -> None:
    """Of branches the widest counts."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 2, 3, padding=4, dilation=4)
            self.narrow = nn.Conv2d(3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return torch.tanh(self.wide(images)) + self.narrow(images)

    assert fields(Branches(), [(10, 11)], (30, 30)) == [(7, 6, 16, 15)]


def test_a_mean_over_the_map_sees_everything() -> None:
    class Squeeze(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * images.mean(dim=(2, 3), keepdim=True).sigmoid()

    assert fields(Squeeze(), [(3, 4)], (8, 9)) == [(0, 0, 9, 8)]


# conv1 and maxpool of a ResNet, then the 3x3 layers of its basic blocks (He et al. 2015, table 1).
STEM: Steps = [(7, 2, 3), (3, 2, 1)]
BLOCK: Steps = [(3, 1, 1)] * 4
LAYER1 = STEM + BLOCK
LAYER2 = [*LAYER1, (3, 2, 1), *BLOCK[:3]]


@pytest.mark.parametrize(("name", "steps", "width"), [("net.layer1", LAYER1, 43), ("net.layer2", LAYER2, 99)])
def test_of_a_resnet(name: str, steps: Steps, width: int) -> None:
    model, side = create_model("resnet18", ["a", "b"]).eval(), 128
    layer = layers_of(model, torch.zeros(1, 3, side, side))[name]
    places = [(layer.size[0] // 2, layer.size[1] // 2), (0, layer.size[1] - 1)]
    found = receptive_fields(lambda images: maps_of(model, layer, images)[:, 5], torch.zeros(1, 3, side, side), places)
    for (row, column), (x0, y0, x1, y1) in zip(places, found, strict=True):
        assert (x0, x1) == by_arithmetic(steps, column, side)
        assert (y0, y1) == by_arithmetic(steps, row, side)
    assert found[0][2] - found[0][0] == width
