"""Boxes that are left out early are those, and only those, that would be left out at the end."""

import pytest
import torch

from vision_tasks.models.decoding import BoxCandidates, MaskLogits, RankedBoxes, above
from vision_tasks.models.least_score import leave_out_below
from vision_tasks.models.registry import create_model
from vision_tasks.types import Boxes

SURE = 0.5


def columns(boxes: Boxes) -> list[torch.Tensor]:
    flat = boxes.above(SURE).flat()
    assert flat.score is not None
    return [flat.xyxy, flat.label, flat.score]


@pytest.mark.parametrize("decoder", [BoxCandidates(0.001, 0.7, 1500), RankedBoxes(0.001, 300)])
def test_sure_boxes_stay_the_same(decoder: BoxCandidates | RankedBoxes) -> None:
    luck = torch.Generator().manual_seed(0)
    centres, sides = 64 * torch.rand(1, 2, 500, generator=luck), 8 + 24 * torch.rand(1, 2, 500, generator=luck)
    outputs = (torch.cat([centres, sides, torch.rand(1, 3, 500, generator=luck)], dim=1),)
    expected, found = decoder(outputs, (64, 64)).image(0), above(decoder, SURE)(outputs, (64, 64)).image(0)
    assert found.label.shape[1] > 20
    assert found.label.shape[1] < expected.label.shape[1] or isinstance(decoder, RankedBoxes)
    for one, two in zip(columns(expected), columns(found), strict=True):
        assert torch.equal(one, two)


def test_only_what_gives_boxes_is_changed() -> None:
    assert above(BoxCandidates(0.6, 0.7, 300), SURE) == BoxCandidates(0.6, 0.7, 300)
    assert above(MaskLogits(), SURE) == MaskLogits()


def test_torchvisions_detectors_keep_their_sure_boxes() -> None:
    torch.manual_seed(0)
    model = create_model("fasterrcnn_mobilenet_v3_large_320_fpn", ("a", "b")).eval()
    images = torch.rand(1, 3, 96, 96)
    expected = model.predict(images)
    assert expected.score is not None
    sure = float(expected.score.median())
    leave_out_below(model, sure)
    found = model.predict(images).image(0)
    kept = expected.above(sure).flat()
    assert 0 < found.label.shape[1] < expected.label.shape[1]
    torch.testing.assert_close(found.above(sure).flat().xyxy, kept.xyxy)
