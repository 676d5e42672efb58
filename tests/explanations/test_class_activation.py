"""Grad-CAM: by hand on a network of three weights, and computed again from the network's parts."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.explanations.class_activation import class_activation, explained
from vision_tasks.explanations.layers import Layer, chosen_layer, layers_of
from vision_tasks.explanations.subject import Wish
from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.evidence import evidence
from vision_tasks.models.registry import create_model

NAMES = ("a", "b", "c")


def picture(side: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_equation_2_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 0.0], [2.0, 3.0]], [[5.0, 1.0], [0.0, 1.0]]]], requires_grad=True)
    score = 4 * maps[0, 0].sum() - 2 * maps[0, 1, 0, 1] * 2  # gradients 4 everywhere, and -4 at one of four places
    found = class_activation(maps, score)
    # weights 4 and -1: 4*1-5, 0-1, 8-0, 12-1; negative ones count nothing
    assert found is not None
    assert found.tolist() == [[0, 0], [8, 11]]


def test_a_score_that_knows_nothing_of_the_maps() -> None:
    maps, other = torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1, requires_grad=True)
    assert class_activation(maps, other.sum()) is None


def red_finder() -> Classifier:
    """Its one map is the red channel; class b is twice the mean of it, class a nothing, class c its opposite."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
        net[3].weight.copy_(torch.tensor([[0.0], [2.0], [-1.0]]))
        net[3].bias.zero_()
    info = ModelInfo("red", "test", NAMES, 1, "Apache-2.0")
    return Classifier(info, net, "3", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).eval()


def test_a_network_whose_answer_is_known() -> None:
    model, image = red_finder(), torch.zeros(1, 3, 4, 4)
    image[0, 0] = torch.arange(16.0).view(4, 4) / 15
    layer = chosen_layer(layers_of(model, image), "net.0")
    result = explained(model, layer, image, Wish())
    assert result is not None
    subject, activation = result
    assert (subject.label, subject.text) == (1, f"b {torch.tensor([0, 1.0, -0.5]).softmax(0)[1]:.2f}")
    torch.testing.assert_close(activation, torch.arange(16.0).view(4, 4) / 15)
    against = explained(model, layer, image, Wish("c"))
    assert against is not None
    assert against[1].eq(0).all()  # nothing of the map speaks for its opposite


def again(model: nn.Module, features: Tensor, score: Tensor) -> np.ndarray:
    """Equations 1 and 2 in float64 with NumPy; gradients by autograd."""
    (gradient,) = torch.autograd.grad(score, features)
    maps, weights = features.detach().double().numpy()[0], gradient.double().numpy()[0].mean(axis=(1, 2))
    return np.maximum(np.einsum("k,khw->hw", weights, maps), 0)


def on_canvas(activation: np.ndarray, side: int) -> Tensor:
    wide = F.interpolate(torch.from_numpy(activation)[None, None], size=(side, side), mode="bilinear")[0, 0]
    return (wide / wide.max()).float()


def test_whole_images_by_the_parts_of_the_network() -> None:
    torch.manual_seed(0)
    model, image = create_model("resnet18", NAMES).eval(), picture(64)
    layer = chosen_layer(layers_of(model, image), None)
    found = explained(model, layer, image, Wish("b"))
    net = model.net
    features = net.maxpool(net.relu(net.bn1(net.conv1((image - model.mean) / model.std))))
    features = net.layer4(net.layer3(net.layer2(net.layer1(features))))
    logits = net.fc(features.mean(dim=(2, 3)))
    assert found is not None
    torch.testing.assert_close(found[0].score, logits[0, 1])
    torch.testing.assert_close(found[1], on_canvas(again(model, features, logits[0, 1]), 64), atol=1e-4, rtol=1e-4)


def test_masks_by_the_parts_of_the_network() -> None:
    torch.manual_seed(0)
    model, image = create_model("unet:resnet18", NAMES).eval(), picture(64)
    layer = chosen_layer(layers_of(model, image), None)
    found = explained(model, layer, image, Wish())
    stages = model.net.encoder((image - model.mean) / model.std)
    logits = model.net.segmentation_head(model.net.decoder(stages))
    index = logits.argmax(dim=1)[0]
    likeliest = int(index.flatten().bincount(minlength=3).argmax())
    assert found is not None
    assert found[0].label == likeliest
    assert found[0].region is not None
    assert (found[0].region == (index == likeliest).numpy()).all()
    score = logits[0, likeliest][index == likeliest].sum()
    torch.testing.assert_close(found[0].score, score, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found[1], on_canvas(again(model, stages[-1], score), 64), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_a_box_is_the_one_that_predict_gives(name: str) -> None:
    torch.manual_seed(0)
    model, image = create_model(name, NAMES).eval(), picture(96)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layer = chosen_layer(layers_of(model, image), None)
    boxes = model.predict(image)
    for number in (1, 2):
        found = explained(model, layer, image, Wish(box=number))
        assert found is not None
        subject, activation = found
        assert subject.label == boxes.label[0, number - 1]
        assert subject.box == pytest.approx(boxes.xyxy[0, number - 1].tolist(), abs=1e-3)
        assert subject.score.item() == pytest.approx(boxes.score[0, number - 1].item(), rel=1e-4)
        assert activation.shape == (96, 96)
        assert activation.max() in (0, 1)
    assert explained(model, layer, image, Wish(box=100_000)) is None
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def nudged(model: TaskModel, layer: Layer, shift: Tensor, function: Callable[[], Tensor]) -> Tensor:
    """`function` while the maps of the layer are moved by `shift`."""
    handle = model.get_submodule(layer.name).register_forward_hook(lambda *call: call[2] + shift)
    try:
        return function()
    finally:
        handle.remove()


def test_the_gradient_of_a_box_is_its_slope() -> None:
    """What the best score gains by a little more of a map is what its gradient says, through regions and pooling."""
    torch.manual_seed(0)
    model, image = create_model("fasterrcnn_mobilenet_v3_large_320_fpn", NAMES).eval(), picture(96)
    layer = chosen_layer(layers_of(model, image), None)

    def score(shift: Tensor) -> Tensor:
        return nudged(model, layer, shift, lambda: evidence(model, image).score.max())

    shift = torch.zeros(1, layer.channels, *layer.size, requires_grad=True)
    (gradient,) = torch.autograd.grad(score(shift), shift)
    step = 1e-2 * gradient / gradient.norm()
    slope = (score(step) - score(-step)).item() / 2e-2
    assert slope == pytest.approx(gradient.norm().item(), rel=0.02)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_the_gradient_of_a_box_is_that_of_ultralytics_own_scores(name: str) -> None:
    torch.manual_seed(0)
    model, image = create_model(name, NAMES).eval(), picture(96)
    # With the statistics of an untrained one all places have the same score, nearly: the best would be one of rounding.
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean of all batches
        if isinstance(part, nn.Conv2d) and part.out_channels == len(NAMES):
            nn.init.normal_(part.weight, std=0.01)
    model.train().net(torch.cat([image, image.flip(2)]))
    model.eval()
    layer = chosen_layer(layers_of(model, image), None)
    shift = torch.zeros(1, layer.channels, *layer.size, requires_grad=True)
    ours = nudged(model, layer, shift, lambda: evidence(model, image).score.max())

    def theirs() -> Tensor:
        found = model.net.eval()(image)[0]  # [1,4+K,N], or the best boxes [1,N,6] with the score in the fifth column
        return found[..., 4].max() if found.shape[-1] == 6 else found[:, 4:].max()

    expected = nudged(model, layer, shift, theirs)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(score, shift)[0] for score in (ours, expected)]
    assert gradients[1].norm() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3 * gradients[1].abs().max().item())


def test_a_layer_on_which_nothing_depends_is_an_error() -> None:
    torch.manual_seed(0)
    model, image = create_model("unet:resnet18", NAMES).eval(), picture(64)
    model.net.register_module("idle", nn.Conv2d(3, 2, 1))
    model.net.register_forward_pre_hook(lambda net, inputs: (net.idle(inputs[0]), None)[1])
    layer = layers_of(model, image)["net.idle"]
    with pytest.raises(UserError, match=r"--layer net\.idle: what is predicted doesn't depend on it"):
        explained(model, layer, image, Wish())


def test_classes_that_are_not_there() -> None:
    torch.manual_seed(0)
    model, image = create_model("unet:resnet18", NAMES).eval(), picture(64)
    layer = chosen_layer(layers_of(model, image), None)
    with pytest.raises(UserError, match="unknown class 'd'"):
        explained(model, layer, image, Wish("d"))
    with torch.no_grad():
        model.net.segmentation_head[0].bias.copy_(torch.tensor([9.0, 0, 0]))
    assert explained(model, layer, image, Wish("c")) is None


def test_a_frozen_network_can_be_explained() -> None:
    model, image = create_model("resnet18", NAMES).eval().requires_grad_(False), picture(64)
    assert explained(model, chosen_layer(layers_of(model, image), None), image, Wish()) is not None


def test_it_is_captums() -> None:
    """pip install captum; it isn't needed otherwise."""
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    model, image = create_model("resnet18", NAMES).eval(), picture(64)
    for name, label in (("net.layer3", 0), ("net.layer4", 2)):
        layer = chosen_layer(layers_of(model, image), name)
        found = explained(model, layer, image, Wish(NAMES[label]))
        method = attr.LayerGradCam(lambda images: model.outputs(images)[0], model.get_submodule(name))
        theirs = method.attribute(image, target=label, relu_attributions=True).detach()
        assert found is not None
        expected = on_canvas(theirs[0, 0].double().numpy(), 64)
        torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=1e-4)
