"""What another model can start from, what it then has, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.checkpoints import saved
from tests.models.yolo import spread
from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.models.ultralytics_yolo import UltralyticsYolo
from vision_tasks.types import Bands, Boxes, InputSpec, Labels


def test_start_from_the_same_model(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    source = load_model(path)[0]
    same, wider = create_model("resnet18", ("a", "b")), create_model("resnet18", ("a", "b", "c"))
    account = start_from(same, path)
    assert account.startswith("took 124 of 124 tensors from resnet18 (")
    assert "new" not in account
    assert all(torch.equal(own, other) for own, other in zip(same.parameters(), source.parameters(), strict=True))
    head = wider.net.fc.weight.clone()
    assert start_from(wider, tmp_path).endswith("; new: net.fc.weight, net.fc.bias")
    assert torch.equal(wider.net.fc.weight, head)
    assert torch.equal(wider.net.bn1.running_mean, source.net.bn1.running_mean)


def test_a_head_of_other_classes_is_not_taken_by_position(tmp_path: Path) -> None:
    path = saved(tmp_path, "yolo26n", ("a", "b"))
    other = create_model("yolo26n", ("b", "c"))
    before = other.net.model[-1].cv3[0][-1].weight.clone()
    account = start_from(other, path)
    assert "new: net.model.23.cv3.0.2.weight, net.model.23.cv3.0.2.bias, net.model.23.cv3.1.2.weight and 9" in account
    assert torch.equal(other.net.model[-1].cv3[0][-1].weight, before)


FEW = tuple("abcd")
MANY = tuple(f"class {number}" for number in range(80))  # then the convolutions before the last of YOLO are as wide


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        pytest.param("resnet18", FEW, marks=pytest.mark.slow),
        pytest.param("googlenet", FEW, marks=pytest.mark.slow),
        ("lenet5", FEW),
        pytest.param("timm/resnet10t", FEW, marks=pytest.mark.slow),
        ("unet:resnet18", FEW),
        ("yolov8n", MANY),
        ("yolo26n", FEW),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", FEW),
        pytest.param("retinanet_resnet50_fpn", FEW, marks=pytest.mark.slow),
        ("ssdlite320_mobilenet_v3_large", FEW),
    ],
)
def test_classes_are_taken_by_name_in_any_order(tmp_path: Path, name: str, classes: tuple[str, ...]) -> None:
    """What the model then says of an image is what the other says, under each class' name."""
    order = tuple(reversed(classes[1:])) + classes[:1]
    torch.manual_seed(0)
    source, other = create_model(name, classes), create_model(name, order)
    if name.startswith("yolo"):
        spread(source.net)
    for layer in source.class_layers:
        torch.nn.init.normal_(source.get_submodule(layer).bias)
    save_model(source, tmp_path / "best.safetensors", InputSpec((64, 64), "crop"))
    account = start_from(other, tmp_path)
    count = len(other.state_dict())
    assert account.startswith(f"took {count} of {count} tensors")
    images = torch.rand(1, 3, 64, 64)
    expected, found = said(source.eval(), images), said(other.eval(), images)
    assert len(expected.keys() & found.keys()) > 1
    for label in expected.keys() & found.keys():
        torch.testing.assert_close(found[label], expected[label], atol=1e-4, rtol=1e-4)


def said(model: TaskModel[Any], images: Tensor) -> dict[str, Tensor]:
    """By the classes' names: probabilities, logits of YOLO at all places, or the best box with its score."""
    classes = model.info.classes
    if isinstance(model, UltralyticsYolo):
        raw = model._raw(images)
        return dict(zip(classes, raw.get("one2one", raw)["scores"].detach().unbind(dim=1), strict=True))
    prediction = model.predict(images)
    if not isinstance(prediction, Boxes):
        values = prediction.weight if isinstance(prediction, Labels) else prediction.probability
        return dict(zip(classes, values.unbind(dim=1), strict=True))
    assert prediction.score is not None
    rows, label = torch.cat([prediction.score[0, :, None], prediction.xyxy[0]], dim=1), prediction.label[0]
    return {classes[i]: rows[label == i][0] for i in label.unique().tolist()}


def test_start_from_another_task(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    source, unet = load_model(path)[0], create_model("unet:resnet18", ("x", "y", "z"))
    assert start_from(unet, path).startswith("took 120 of 120 tensors of the backbone from resnet18")
    for own, other in zip(unet.backbone.state_dict().values(), source.backbone.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    created = create_model("unet:resnet18", ("x",), weights=path)
    assert torch.equal(created.net.encoder.conv1.weight, source.net.conv1.weight)


def test_start_from_what_does_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    for name in ("yolov8n", "resnet50"):
        model = create_model(name, ("a", "b"))
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        with pytest.raises(UserError, match=f"the backbone of resnet18 does not fit {name}: .* tensors agree; not "):
            start_from(model, path)
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_more_bands_than_the_checkpoint_has(tmp_path: Path) -> None:
    """Band by band from the definition: RGB keep their filters, others get their mean, all times 3/5."""
    path = saved(tmp_path, "resnet18", ("a", "b"))
    source = load_model(path)[0]
    five = create_model("resnet18", ("a", "b"), channels=5)
    account = start_from(five, path)
    assert "; its first layer was widened from RGB; new: mean, std" in account
    rgb = source.net.conv1.weight
    mean = (rgb[:, 0] + rgb[:, 1] + rgb[:, 2]) / 3
    expected = torch.stack([rgb[:, 0], rgb[:, 1], rgb[:, 2], mean, mean], dim=1) * 0.6
    torch.testing.assert_close(five.net.conv1.weight, expected)
    assert torch.equal(five.net.layer4[1].conv2.weight, source.net.layer4[1].conv2.weight)
    assert torch.equal(five.mean, create_model("resnet18", ("a",), channels=5).mean)


def test_fewer_bands_are_no_rgb(tmp_path: Path) -> None:
    five = create_model("resnet18", ("a", "b"), channels=5)
    save_model(five, tmp_path / "five.safetensors", InputSpec((64, 64), "crop", Bands((1, 2, 3, 4, 5))))
    with pytest.raises(UserError, match=r"59 of 60 tensors agree|not net\.conv1\.weight \(64x5x7x7 for 64x3x7x7\)"):
        start_from(create_model("resnet18", ("a", "b")), tmp_path / "five.safetensors")
