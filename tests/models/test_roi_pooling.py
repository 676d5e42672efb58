"""Regions against torchvision's RoI align, values and gradients, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from vision_tasks.models.roi_pooling import RegionHead, RegionPool, Regions, regions

SIZE = (192, 200)


def pyramid(sides: tuple[int, ...], channels: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, channels, side, side + 1, generator=generator, dtype=torch.float64, requires_grad=True)
        for side in sides
    ]


def boxes(count: int) -> list[Tensor]:
    """For two images, some beyond the canvas or narrower than a pixel, small ones and large ones."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 200 - 10
    extent = torch.rand(count, 2, generator=generator, dtype=torch.float64) ** 2 * 1200
    both = torch.cat([corner, corner + extent], dim=1)
    return [both[: count // 3], both[count // 3 :]]


def torchvisions(levels: list[Tensor], found: list[Tensor]) -> Tensor:
    named = {str(i): level for i, level in enumerate(levels)}
    pooled: Tensor = MultiScaleRoIAlign(list(named), 7, 2)(named, found, [SIZE] * len(found))
    return pooled


def gradients(outcome: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    weight = torch.randn(outcome.shape, generator=torch.Generator().manual_seed(2), dtype=outcome.dtype)
    return torch.autograd.grad(outcome, leaves, weight)


@pytest.mark.parametrize("sides", [(24, 12, 6), (48, 24, 12, 6), (6,)])
def test_pooled(sides: tuple[int, ...]) -> None:
    levels, found = pyramid(sides), boxes(90)
    ours, theirs = regions(levels, found, SIZE), torchvisions(levels, found)
    assert len(ours.of_map.unique()) == 2 * len(sides)
    torch.testing.assert_close(ours.pooled(), theirs)
    torch.testing.assert_close(gradients(ours.pooled(), *levels), gradients(theirs, *levels))


@pytest.mark.parametrize("sides", [(24, 12, 6), (6,)])
def test_projected(sides: tuple[int, ...]) -> None:
    levels, found = pyramid(sides), boxes(90)
    layer = nn.Linear(8 * 49, 16, dtype=torch.float64)
    ours, theirs = regions(levels, found, SIZE).projected(layer), layer(torchvisions(levels, found).flatten(1))
    torch.testing.assert_close(ours, theirs)
    leaves = (*levels, *layer.parameters())
    torch.testing.assert_close(gradients(ours, *leaves), gradients(theirs, *leaves))


def test_a_second_level_of_the_same_stride_has_no_boxes() -> None:
    levels, found = pyramid((6, 6)), boxes(30)
    ours = regions(levels, found, SIZE)
    assert len(ours.table) == 2 * 6 * 7
    torch.testing.assert_close(ours.pooled(), torchvisions(levels, found))


def test_no_boxes_at_all() -> None:
    levels = pyramid((12, 6))
    ours = regions(levels, [torch.zeros(0, 4, dtype=torch.float64)] * 2, SIZE)
    assert ours.pooled().shape == (0, 8, 7, 7)
    assert ours.projected(nn.Linear(8 * 49, 16, dtype=torch.float64)).shape == (0, 16)


def test_the_cheaper_way_is_taken() -> None:
    """42 pixels of one map beside many boxes or few: 42 * 8 + boxes * 42 / 2 multiplications against boxes * 8."""
    pool = RegionPool(MultiScaleRoIAlign(["0"], 7, 2), lazy=True)
    (level,) = pyramid((6,), channels=64)
    one = level[:1]

    def answer(count: int) -> Tensor | Regions:
        return pool({"0": one}, [torch.cat(boxes(count))], [SIZE])

    assert isinstance(answer(200), Regions)  # 42 * 64 + 200 * 42 < 200 * 64
    assert isinstance(answer(100), Tensor)  # 42 * 64 + 100 * 42 > 100 * 64


def test_without_a_gradient_it_is_torchvisions_own() -> None:
    (level,) = pyramid((6,))
    pool = RegionPool(MultiScaleRoIAlign(["0"], 7, 2), lazy=True)
    with torch.no_grad():
        found = pool({"0": level.detach()}, boxes(90), [SIZE] * 2)
    assert isinstance(found, Tensor)
    assert torch.equal(found, torchvisions([level.detach()], boxes(90)))


def test_the_head_gives_the_same_for_both() -> None:
    levels, found = pyramid((12, 6)), boxes(60)
    head = RegionHead(nn.Linear(8 * 49, 16), nn.Linear(16, 4)).double()
    given = regions(levels, found, SIZE)
    pooled = torchvisions(levels, found).flatten(1)
    expected = head.fc7(head.fc6(pooled).relu()).relu()
    torch.testing.assert_close(head(given), expected)
    torch.testing.assert_close(head(given.pooled()), expected)
