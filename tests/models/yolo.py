"""Networks of ultralytics that are not as they were made, their files, and ultralytics' own boxes to compare with."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision_tasks.models.base import TaskModel
from vision_tasks.models.registry import create_model
from vision_tasks.types import Boxes, Size

CLASSES = ("cat", "dog", "eel")


def yolo(name: str) -> TaskModel[Boxes]:
    """Ours, in evaluation mode."""
    torch.manual_seed(0)
    model = create_model(name, CLASSES)
    spread(model.net)
    return model.eval()


def ultralytics_network(name: str, classes: tuple[str, ...] = CLASSES, **changes: Any) -> nn.Module:
    """Theirs, with other settings of its description where `changes` say so."""
    create_model("yolov8n", CLASSES)  # its import is tamed there
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    torch.manual_seed(1)
    net: nn.Module = DetectionModel(yaml_model_load(f"{name}.yaml") | changes, nc=len(classes), verbose=False)
    net.names = dict(enumerate(classes))
    spread(net)
    return net.eval()


@torch.no_grad()
def spread(net: Any) -> None:
    """As after a training: boxes of some size, scores above the threshold that differ, statistics of their own."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    net.train()(torch.rand(4, 3, 128, 160))
    head = net.model[-1]
    for branch in (*head.cv3, *getattr(head, "one2one_cv3", ())):
        branch[-1].bias += 5
        branch[-1].weight *= 20
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
        norm.running_mean += torch.rand_like(norm.running_mean) / 10
        norm.running_var *= 1 + torch.rand_like(norm.running_var) / 10


def saved(path: Path, net: nn.Module, **content: Any) -> Path:
    """In the form in which ultralytics' trainer leaves its best.pt."""
    whole = {
        "epoch": -1,
        "best_fitness": None,
        "model": net.half(),
        "ema": None,
        "optimizer": None,
        "train_args": {"imgsz": 160, "task": "detect", "data": "x.yaml"},
        "date": "2026",
    }
    torch.save(whole | content, path)
    net.float()
    return path


def ultralytics_rows(net: Any, images: Tensor, end2end: bool) -> list[Tensor]:
    """Of each image, x1, y1, x2, y2, score and class by ultralytics' own network and suppression."""
    import torchvision  # noqa: F401 - without it, the suppression orders ties otherwise
    from ultralytics.utils.nms import non_max_suppression

    net.end2end = end2end
    with torch.no_grad():
        decoded = net(images)[0]
    rows: list[Tensor] = non_max_suppression(
        decoded, 0.001, 0.7, multi_label=True, max_det=300, max_time_img=1e6, nc=len(net.names), end2end=end2end
    )
    return rows


def check_boxes(found: Boxes, expected: list[Tensor], canvas: Size) -> None:
    """The same boxes in the same order; theirs as they are clipped, ours upright where theirs are."""
    from ultralytics.utils.ops import clip_boxes

    assert found.score is not None
    for one, rows in zip([found.image(i) for i in range(len(found))], expected, strict=True):
        assert len(rows) == one.label.shape[1] > 10
        boxes = clip_boxes(rows[:, :4].clone(), canvas)
        upright = (boxes[:, 2:] >= boxes[:, :2]).all(dim=1)
        assert upright.float().mean() > 0.5
        torch.testing.assert_close(one.xyxy[0][upright], boxes[upright], atol=0.01, rtol=0)
        assert one.score is not None
        torch.testing.assert_close(one.score[0], rows[:, 4], atol=1e-4, rtol=0)
        assert torch.equal(one.label[0], rows[:, 5].long())
