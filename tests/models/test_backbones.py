"""Detectors whose backbone is folded or runs elsewhere find the same boxes."""

import torch
from torch import nn

from tests.models.test_folding import awakened
from vision_tasks.models.backbones import BackboneElsewhere, backbone_of, seen_by_backbone, with_backbone
from vision_tasks.models.folding import folded_part
from vision_tasks.models.registry import create_model
from vision_tasks.types import Boxes


def same(one: Boxes, other: Boxes) -> None:
    assert one.label.shape[1] > 3
    assert torch.equal(one.label, other.label)
    # Of neighbours that a random network believes in equally, rounding decides which one suppresses the other.
    assert ((one.xyxy - other.xyxy).abs() < 0.02).float().mean() > 0.98


@torch.no_grad()
def test_boxes_are_the_same() -> None:
    torch.manual_seed(0)
    model = awakened(create_model("fasterrcnn_mobilenet_v3_large_320_fpn", ("a", "b")))
    images = torch.rand(2, 3, 96, 80)
    expected = model.predict(images)  # type: ignore[operator]
    backbone = backbone_of(model)  # type: ignore[arg-type]
    assert backbone is not None
    twin = with_backbone(model, folded_part(backbone, seen_by_backbone(images)))  # type: ignore[arg-type]
    assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.get_submodule("net.backbone").modules())
    same(expected, twin.predict(images))

    started = []

    def start(size: tuple[int, int]):
        started.append(size)
        return lambda maps: tuple(backbone(maps).values())

    names = tuple(backbone(seen_by_backbone(images)))
    elsewhere = with_backbone(model, BackboneElsewhere(names, start))  # type: ignore[arg-type]
    same(expected, elsewhere.predict(images))
    same(expected, elsewhere.predict(images))
    assert started == [(96, 96)]


def test_what_can_be_exported_as_a_whole_needs_none() -> None:
    assert backbone_of(create_model("cifar_resnet20", ("a", "b"))) is None
