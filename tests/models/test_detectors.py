"""Faster R-CNN against torchvision's own model, YOLO against ultralytics' own pipeline."""

import logging
import os
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vision_tasks.models.base import TaskModel
from vision_tasks.models.registry import create_model
from vision_tasks.types import Boxes

CLASSES = ("cat", "dog", "eel")


def faster_rcnn() -> TaskModel[Boxes]:
    torch.manual_seed(0)
    return create_model("fasterrcnn_mobilenet_v3_large_320_fpn", CLASSES).eval()


def truth() -> Boxes:
    boxes = torch.tensor([[4.0, 4, 44, 36], [50, 10, 90, 60]])
    return Boxes.single(boxes, torch.tensor([0, 2]))


@pytest.mark.parametrize("size", [(64, 64), (75, 129)])
def test_faster_rcnn_is_torchvisions(size: tuple[int, int]) -> None:
    model = faster_rcnn()
    plain = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=4,
        min_size=min(size),
        max_size=max(size),
        box_score_thresh=0.001,
    ).eval()
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        expected = plain(list(images))
    found = model.predict(images)
    for i, image in enumerate(expected):
        one = found.image(i)
        assert one.score is not None
        assert torch.equal(one.xyxy[0], image["boxes"])
        assert torch.equal(one.label[0], image["labels"] - 1)
        assert torch.equal(one.score[0], image["scores"])


def test_faster_rcnn_losses_are_torchvisions() -> None:
    model = faster_rcnn().train()
    plain = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=4, min_size=64, max_size=96
    )
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(1, 3, 64, 96)
    torch.manual_seed(1)
    expected = plain(list(images), [{"boxes": truth().xyxy[0], "labels": torch.tensor([1, 3])}])
    torch.manual_seed(1)
    losses = model(images, truth())
    assert losses == {name.removeprefix("loss_"): loss for name, loss in expected.items()}


def test_faster_rcnn_learns_its_whole_backbone() -> None:
    model = faster_rcnn()
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [module for module in model.modules() if "BatchNorm" in type(module).__name__]
    assert norms
    assert {type(norm) for norm in norms} == {nn.BatchNorm2d}


def test_faster_rcnn_backbone_fits_a_classifier() -> None:
    detector, classifier = create_model("fasterrcnn_resnet50_fpn", CLASSES), create_model("resnet50", CLASSES)
    assert detector.backbone.state_dict().keys() == classifier.backbone.state_dict().keys()


def test_faster_rcnn_without_any_proposal() -> None:
    model = faster_rcnn().train()
    nn.init.constant_(model.net.rpn.head.cls_logits.bias, -30)
    nothing = Boxes.single(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    losses = model(torch.rand(2, 3, 64, 64), Boxes.stack([nothing, nothing]))
    assert all(loss.isfinite() for loss in losses.values())
    assert not model.eval().predict(torch.rand(2, 3, 64, 64)).valid.any()


def test_faster_rcnn_boxes_are_not_rounded_to_bfloat16() -> None:
    model = faster_rcnn()
    model.net.rpn.head.bbox_pred.weight.data *= 30  # untrained, it moves no anchor off its whole pixel
    seen: list[Tensor] = []
    model.net.rpn.register_forward_hook(lambda *call: seen.extend(call[2][0]))
    with torch.autocast("cpu", torch.bfloat16):
        model.predict(torch.rand(1, 3, 64, 96))
    assert seen[0].dtype == torch.float32
    assert (seen[0] != seen[0].bfloat16().float()).any()


def yolo(name: str) -> TaskModel[Boxes]:
    """Untrained, but with boxes of some size and scores that are not all under the threshold."""
    torch.manual_seed(0)
    model = create_model(name, CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 128, 160), Boxes.stack([truth()] * 4))
        head = model.net.model[-1]
        for branch in (*head.cv3, *getattr(head, "one2one_cv3", ())):
            branch[-1].bias += 5
    return model.eval()


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
def test_yolo_predicts_what_ultralytics_does(name: str) -> None:
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import clip_boxes

    model = yolo(name)
    images = torch.rand(2, 3, 128, 160)
    with torch.no_grad():
        decoded = model.net(images)[0]
    expected = non_max_suppression(
        decoded, 0.001, 0.7, multi_label=True, max_det=300, max_time_img=1e6, end2end=name == "yolo26n"
    )
    found = model.predict(images)
    for i, rows in enumerate(expected):
        one = found.image(i)
        assert one.score is not None
        assert len(rows) == one.label.shape[1] > 10
        boxes = clip_boxes(rows[:, :4].clone(), (128, 160))
        upright = (boxes[:, 2:] >= boxes[:, :2]).all(dim=1)
        assert upright.float().mean() > 0.5
        torch.testing.assert_close(one.xyxy[0][upright], boxes[upright], atol=0.01, rtol=0)
        torch.testing.assert_close(one.score[0], rows[:, 4], atol=1e-4, rtol=0)
        assert torch.equal(one.label[0], rows[:, 5].long())


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_yolo_losses_are_ultralytics_per_image(name: str) -> None:
    model = yolo(name).train()
    images = torch.rand(3, 3, 128, 160)
    targets = Boxes.stack([truth(), truth().blank((128, 160)), truth()])
    one, two = (24 / 160, 20 / 128, 40 / 160, 32 / 128), (70 / 160, 35 / 128, 40 / 160, 50 / 128)
    batch = {
        "img": images,
        "batch_idx": torch.tensor([0.0, 0, 2, 2]),
        "cls": torch.tensor([0.0, 2, 0, 2]),
        "bboxes": torch.tensor([one, two, one, two]),
    }
    expected, _ = model.net.init_criterion()(model.net(images), batch)
    losses = model(images, targets)
    assert list(losses) == ["box", "cls", "l1" if name == "yolo26n" else "dfl"]
    torch.testing.assert_close(torch.stack(list(losses.values())) * 3, expected)


def test_yolo26_moves_its_weight_to_the_end_to_end_head() -> None:
    model = yolo("yolo26n")
    images = torch.rand(1, 3, 128, 160)
    totals = []
    for done in (0.0, 0.5, 1.0):
        model.anneal(done)
        totals.append(torch.stack(list(model(images, truth()).values())).sum())
    assert totals[0] != totals[2]
    torch.testing.assert_close(totals[1], (totals[0] + totals[2]) / 2)
    loss = model._loss(torch.device("cpu"))
    assert (loss.o2m, loss.o2o) == pytest.approx((loss.final_o2m, 1 - loss.final_o2m))


def test_yolo_anchors_do_not_stay_in_bfloat16() -> None:
    model = yolo("yolov8n")
    images = torch.rand(1, 3, 128, 160)
    before = model.predict(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.predict(images).xyxy.dtype == torch.float32
    assert torch.equal(model.predict(images).xyxy, before.xyxy)


def test_labels_keep_their_number() -> None:
    """What torchvision calls class 2, behind its background, is the second of ours."""
    model = faster_rcnn()
    with torch.no_grad():
        model.net.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([-9.0, -9, 9, -9]))
    assert set(model.predict(torch.rand(1, 3, 64, 96)).flat().label[0, :5].tolist()) == {1}


PROBE = """
import logging, os, sys, cv2, numpy, torch
cv2.setNumThreads(2)
torch.set_num_threads(1)
torch.set_printoptions(precision=3)
from vision_tasks.models.registry import create_model, model_names
model_names()
assert not {"torchvision", "ultralytics", "segmentation_models_pytorch", "timm"} & set(sys.modules)
import torchvision
def state():
    return (dict(os.environ), cv2.getNumThreads(), torch.save, torch.get_num_threads(),
        vars(torch._tensor_str.PRINT_OPTS), numpy.get_printoptions(), torch.get_default_dtype(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(), logging.root.manager.disable, logging.root.level)
before = repr(state())
model = create_model("yolo11n", ("a", "b"))
assert repr(state()) == before, (repr(state()), before)
model.predict(torch.rand(1, 3, 64, 64))
assert repr(state()) == before
assert logging.getLogger("ultralytics").level == logging.INFO
"""


def test_ultralytics_leaves_the_process_and_the_home_alone(tmp_path: object) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(["."])}
    environment.pop("YOLO_CONFIG_DIR", None)
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(os.scandir(str(tmp_path))) == []


def test_building_a_yolo_keeps_the_level_of_logs() -> None:
    logging.disable(logging.DEBUG)
    try:
        create_model("yolov8n", CLASSES)
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(logging.NOTSET)
