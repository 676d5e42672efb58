"""What networks' tensors mean, beside ultralytics' suppression, scipy and hand-counted cases; and decoders as JSON."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from tests.models.yolo import CLASSES, check_boxes
from vision_tasks.models.decoding import (
    BoxCandidates,
    ClassLogits,
    MaskLogits,
    RankedBoxes,
    decoder_of,
    described,
)
from vision_tasks.models.registry import create_model

CANVAS = (128, 160)
DECODERS = (ClassLogits(True), ClassLogits(False), MaskLogits(), BoxCandidates(0.001, 0.7, 300), RankedBoxes(0.001, 9))


def candidates(images: int = 2, places: int = 900, classes: int = len(CLASSES)) -> torch.Tensor:
    """Many boxes around few centres, so that most are suppressed; scores with ties, and some below the threshold."""
    luck = torch.Generator().manual_seed(0)
    centre = torch.randint(1, 5, (images, 2, places), generator=luck) * 30.0
    centre += torch.randn(centre.shape, generator=luck)
    side = 20 + 10 * torch.rand((images, 2, places), generator=luck)
    score = (torch.rand((images, classes, places), generator=luck) ** 6 * 1000).round() / 1000
    return torch.cat((centre, side, score), dim=1)


def test_suppression_is_that_of_ultralytics() -> None:
    create_model("yolov8n", CLASSES)  # its import is tamed there
    import torchvision  # noqa: F401 - without it, theirs orders ties otherwise
    from ultralytics.utils.nms import non_max_suppression

    found = candidates()
    expected = non_max_suppression(
        found.clone(), 0.001, 0.7, multi_label=True, max_det=300, max_time_img=1e6, nc=len(CLASSES)
    )
    boxes = BoxCandidates(0.001, 0.7, 300)([found], CANVAS)
    check_boxes(boxes, expected, CANVAS)
    assert 50 < int(boxes.valid[0].sum()) <= 300


def test_ranked_boxes_are_the_best_scores_of_the_best_places() -> None:
    found = torch.zeros(1, 6, 4)
    found[0, :4] = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]]).T
    found[0, 4:] = torch.tensor([[0.9, 0.8], [0.1, 0.0], [0.0, 0.7], [0.0005, 0.0]]).T
    boxes = RankedBoxes(0.001, 3)([found], CANVAS).flat()
    assert boxes.score is not None
    assert boxes.score[0].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert boxes.label[0].tolist() == [0, 1, 1]
    assert boxes.xyxy[0].tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [40, 0, 50, 10]]


def test_nothing_above_the_threshold_is_no_box() -> None:
    found = candidates()
    found[:, 4:] = 0
    for decoder in (BoxCandidates(0.001, 0.7, 300), RankedBoxes(0.001, 300)):
        assert not decoder([found], CANVAS).valid.any()


def test_probabilities_are_scipys() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)) * 5
    one = ClassLogits(True)([logits], CANVAS).weight.numpy()
    np.testing.assert_allclose(one, softmax(logits.double().numpy(), axis=1), atol=1e-7)
    several = ClassLogits(False)([logits], CANVAS).weight.numpy()
    np.testing.assert_allclose(several, expit(logits.double().numpy()), atol=1e-7)
    maps = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(2))
    masks = MaskLogits()([maps], (6, 7))
    assert masks.probability is not None
    np.testing.assert_allclose(masks.probability.numpy(), softmax(maps.double().numpy(), axis=1), atol=1e-7)
    np.testing.assert_array_equal(masks.index.numpy(), maps.numpy().argmax(axis=1))


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.kind)
def test_decoders_come_back_from_json(decoder: ClassLogits) -> None:
    assert decoder_of(json.loads(json.dumps(described(decoder)))) == decoder


@pytest.mark.parametrize("fields", [None, {}, {"kind": "soup"}, {"kind": "ranked_boxes", "most": 3}])
def test_what_is_no_decoder_is_refused(fields: object) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        decoder_of(fields)
