"""torchvision's detectors: the contract of all models, and torchvision's own models as the reference."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.models.test_contract import CLASSES, DetectorContract
from vision_tasks.errors import UserError
from vision_tasks.models import torchvision_detectors
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import MODELS, create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.types import Boxes, InputSpec

FASTER = "fasterrcnn_mobilenet_v3_large_320_fpn"
NAMES = [name for name, entry in MODELS.items() if (entry.task, entry.family) == ("detect", "torchvision")]


class TorchvisionContract(DetectorContract):
    rate = 1e-4

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _few_regions(cls) -> Iterator[None]:
        """Hundreds of proposals for a canvas of 64 px would take seconds."""
        few = {"rpn_post_nms_top_n_train": 60, "rpn_post_nms_top_n_test": 20, "box_batch_size_per_image": 32}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torchvision_detectors.FasterRCNN, "options", torchvision_detectors.FasterRCNN.options | few)
            yield


@pytest.mark.slow
class TestFasterRCNNResNet50(TorchvisionContract):
    name = "fasterrcnn_resnet50_fpn"


@pytest.mark.slow
class TestFasterRCNNResNet50V2(TorchvisionContract):
    name = "fasterrcnn_resnet50_fpn_v2"


@pytest.mark.slow
class TestFasterRCNNMobileNet(TorchvisionContract):
    name = "fasterrcnn_mobilenet_v3_large_fpn"


class TestRetinaNet(TorchvisionContract):
    name = "retinanet_resnet50_fpn"


@pytest.mark.slow
class TestRetinaNetV2(TorchvisionContract):
    name = "retinanet_resnet50_fpn_v2"


class TestFCOS(TorchvisionContract):
    name = "fcos_resnet50_fpn"


class SSDContract(TorchvisionContract):
    grids: tuple[tuple[int, int], ...]  # rows and columns of each map
    shares: tuple[float, ...]  # of the canvas that its default boxes have

    def truth(self) -> Boxes:
        """A box for each map: only what is near a box, or wrongly taken for one, is learned from."""
        height, width = self.canvas
        boxes = []
        for (rows, columns), share in zip(self.grids, self.shares, strict=True):
            x, y = (columns // 2 + 0.5) * width / columns, (rows // 2 + 0.5) * height / rows
            across, down = share * width / 2, share * height / 2
            boxes.append((max(0, x - across), max(0, y - down), min(width, x + across), min(height, y + down)))
        first = Boxes.single(torch.tensor([*boxes, (40.0, 5, 40, 9)]), torch.arange(len(boxes) + 1) % 3)
        return Boxes.stack([first, super().truth().image(1)])


class TestSSDlite(SSDContract):
    name = "ssdlite320_mobilenet_v3_large"
    grids = ((4, 6), (2, 3), (1, 2), (1, 1), (1, 1), (1, 1))
    shares = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)


@pytest.mark.slow
class TestSSD(SSDContract):
    name = "ssd300_vgg16"
    canvas = (300, 300)
    rate = 1e-5
    grids = ((38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1))
    shares = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87)


def faster_rcnn() -> TaskModel[Boxes]:
    torch.manual_seed(0)
    return create_model(FASTER, CLASSES).eval()


def truth() -> Boxes:
    boxes = torch.tensor([[4.0, 4, 44, 36], [50, 10, 90, 60]])
    return Boxes.single(boxes, torch.tensor([0, 2]))


def torchvisions(name: str, canvas: tuple[int, int], classes: int = len(CLASSES), **options: Any) -> nn.Module:
    """torchvision's own model, which leaves a canvas of that size as it is."""
    background = 0 if name.startswith(("retinanet", "fcos")) else 1
    faster = name.startswith("fasterrcnn")
    limits = {"box_score_thresh": 0.001} if faster else {"score_thresh": 0.001, "detections_per_img": 100}
    sizes = {} if name.startswith("ssd") else {"min_size": min(canvas), "max_size": max(canvas)}
    net: nn.Module = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=classes + background, **sizes, **(limits | options)
    ).eval()
    return net


CANVASES = {"ssd300_vgg16": (300, 300), "ssdlite320_mobilenet_v3_large": (320, 320)}


@pytest.mark.parametrize(
    "name",
    [
        FASTER,
        "retinanet_resnet50_fpn",
        "fcos_resnet50_fpn",
        "ssdlite320_mobilenet_v3_large",
        pytest.param("ssd300_vgg16", marks=pytest.mark.slow),
    ],
)
def test_predictions_are_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    canvas = CANVASES.get(name, (75, 129))
    model, plain = create_model(name, CLASSES).eval(), torchvisions(name, canvas)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(2, 3, *canvas)
    with torch.no_grad():
        expected = plain(list(images))
    found = model.predict(images)
    for i, image in enumerate(expected):
        check_identical(found.image(i), image, model.background)


def check_identical(one: Boxes, image: Mapping[str, Tensor], background: int) -> None:
    """Exactly what torchvision gives, in its order."""
    assert one.score is not None
    assert len(image["boxes"]) > 10
    assert torch.equal(one.xyxy[0], image["boxes"])
    assert torch.equal(one.label[0], image["labels"] - background)
    assert torch.equal(one.score[0], image["scores"])


@pytest.mark.parametrize("name", [FASTER, "retinanet_resnet50_fpn", "fcos_resnet50_fpn"])
def test_losses_are_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    model, plain = create_model(name, CLASSES).train(), torchvisions(name, (64, 96)).train()
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(1, 3, 64, 96)
    torch.manual_seed(1)
    expected = plain(list(images), [{"boxes": truth().xyxy[0], "labels": torch.tensor([0, 2]) + model.background}])
    torch.manual_seed(1)
    losses = model(images, truth())
    torch.testing.assert_close(losses, {name.removeprefix("loss_"): loss for name, loss in expected.items()})


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


def test_labels_keep_their_number() -> None:
    """What torchvision calls class 2, behind its background, is the second of ours."""
    model = faster_rcnn()
    with torch.no_grad():
        model.net.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([-9.0, -9, 9, -9]))
    assert set(model.predict(torch.rand(1, 3, 64, 96)).flat().label[0, :5].tolist()) == {1}


STARTS = {
    FASTER: "mobilenet_v3_large",
    "fasterrcnn_resnet50_fpn_v2": "resnet50",
    "retinanet_resnet50_fpn": "resnet50",
    "fcos_resnet50_fpn": "resnet50",
    "ssd300_vgg16": "vgg16",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.startswith("ssd") else []) for name in STARTS]
)
def test_a_backbone_starts_from_a_classifier(name: str, tmp_path: Path) -> None:
    classifier = create_model(STARTS[name], ("a", "b"))
    saved = tmp_path / "best.safetensors"
    save_model(classifier, saved, InputSpec((64, 64), "crop"))
    model = create_model(name, CLASSES)
    count = len(model.backbone.state_dict())
    assert start_from(model, saved).startswith(f"took {count} of {count} tensors of the backbone from {STARTS[name]}")
    theirs = classifier.backbone.state_dict()
    for tensor, value in model.backbone.state_dict().items():
        assert torch.equal(value, theirs[tensor])
    first = next(module for module in model.net.backbone.modules() if isinstance(module, nn.Conv2d))
    assert torch.equal(first.weight, next(iter(theirs.values())))


def test_ssdlite_is_half_as_wide_at_its_end_as_the_classifier(tmp_path: Path) -> None:
    saved = tmp_path / "best.safetensors"
    save_model(create_model("mobilenet_v3_large", ("a",)), saved, InputSpec((64, 64), "crop"))
    with pytest.raises(UserError, match="the backbone of mobilenet_v3_large does not fit ssdlite320"):
        start_from(create_model("ssdlite320_mobilenet_v3_large", CLASSES), saved)


def test_ssd_takes_the_canvas_of_its_boxes_only() -> None:
    model = create_model("ssd300_vgg16", CLASSES)
    model.require_canvas(300)
    with pytest.raises(UserError, match="--image-size 640: ssd300_vgg16 has boxes for 300 px only; use 300"):
        model.require_canvas(640)
    create_model("ssdlite320_mobilenet_v3_large", CLASSES).require_canvas(200)


@pytest.mark.slow
def test_parameters_are_as_many_as_published() -> None:
    """With as many outputs as COCO's files have, and without what their frozen normalisation keeps as statistics."""
    for name in NAMES:
        model = create_model(name, [str(number) for number in range(MODELS[name].published_classes)])
        (published,) = torchvision.models.get_model_weights(name)
        count = sum(parameter.numel() for parameter in model.parameters())
        norms = [norm for norm in model.backbone.modules() if isinstance(norm, nn.BatchNorm2d)]
        still = sum(2 * norm.num_features for norm in norms)
        assert published.meta["num_params"] in (count, count - still), name


def test_gradients_are_torchvisions() -> None:
    """One step's gradients of the whole network, from losses of the same draw."""
    model, plain = faster_rcnn().train(), torchvisions(FASTER, (64, 96)).train()
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(2, 3, 64, 96)
    both = Boxes.stack([truth(), truth()])
    listed = [{"boxes": truth().xyxy[0], "labels": torch.tensor([1, 3])}] * 2
    torch.manual_seed(1)
    torch.stack(list(plain(list(images), listed).values())).sum().backward()
    torch.manual_seed(1)
    torch.stack(list(model(images, both).values())).sum().backward()
    for (name, ours), theirs in zip(model.net.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert (ours.grad - theirs.grad).norm() <= 1e-3 * theirs.grad.norm() + 1e-6, name
