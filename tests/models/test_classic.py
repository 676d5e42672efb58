"""The networks of courses: what their papers fix, computed by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vision_tasks.models.cifar_resnet import Block
from vision_tasks.models.classic import ScaledTanh
from vision_tasks.models.registry import create_model
from vision_tasks.models.summary import summarise

TEN = [str(i) for i in range(10)]


def test_lenet5_sees_background_and_foreground_as_in_the_paper() -> None:
    model = create_model("lenet5", TEN, channels=1)
    values = (torch.tensor([0.0, 1.0]) - model.mean.flatten()) / model.std.flatten()
    torch.testing.assert_close(values, torch.tensor([-0.1, 1.175]))
    padded = model.net.pad(torch.full((1, 1, 28, 28), 1.175))
    assert padded.shape == (1, 1, 32, 32)
    assert float(padded[0, 0, 1, 5]) == float(padded[0, 0, 30, 31]) == pytest.approx(-0.1)
    assert ScaledTanh()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1, -1], abs=1e-4)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "mnist_cnn"])
def test_canvases_are_averaged_to_28(name: str) -> None:
    model = create_model(name, TEN, channels=1)
    large = torch.rand(2, 1, 56, 84)
    small = F.avg_pool2d(large, (2, 3))
    torch.testing.assert_close(model.predict(large).weight, model.predict(small).weight)
    assert torch.equal(model.net.canvas(small), small)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "mnist_cnn"])
def test_bands_that_are_no_colours(name: str) -> None:
    model = create_model(name, TEN, channels=5)
    assert model.mean.shape == model.std.shape == (1, 5, 1, 1)
    images = torch.rand(1, 5, 28, 28)
    changed = images.clone()
    changed[:, 4] = 0
    assert not torch.equal(model.predict(images).weight, model.predict(changed).weight)


def test_response_normalisation_is_the_papers() -> None:
    with torch.device("meta"):
        model = create_model("alexnet_single_tower", ("a",))
    a = np.random.default_rng(0).normal(0, 20, 96)
    expected = [a[i] / (2 + 1e-4 * (a[max(0, i - 2) : i + 3] ** 2).sum()) ** 0.75 for i in range(96)]
    found = model.net.norm1(torch.from_numpy(a)[None, :, None, None])
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-9)


def test_single_tower_maps() -> None:
    """Sizes of the paper's figure 2, for 227 pixels."""
    with torch.device("meta"):
        outputs = {
            layer.name: layer.output[1:] for layer in summarise(create_model("alexnet_single_tower", TEN), 227).layers
        }
    assert outputs["net.conv1"] == (96, 55, 55)
    assert outputs["net.conv2"] == (256, 27, 27)
    assert outputs["net.conv3"] == outputs["net.conv4"] == (384, 13, 13)
    assert outputs["net.conv5"] == (256, 13, 13)
    assert outputs["net.pool5"] == outputs["net.canvas"] == (256, 6, 6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 266_610),
        ("lenet5", 61_706),
        ("mnist_cnn", 38_390),
        ("cifar_resnet20", 269_722),  # 0.27 million in table 6 of the paper, and so on
        ("cifar_resnet32", 464_154),
        ("cifar_resnet44", 658_586),
        ("cifar_resnet56", 853_018),
        ("cifar_resnet110", 1_727_962),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name, TEN)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("depth", [20, 44])
def test_depth_of_cifar_resnets(depth: int) -> None:
    with torch.device("meta"):
        layers = summarise(create_model(f"cifar_resnet{depth}", TEN), 32).layers
    assert sum(layer.type in ("Conv2d", "Linear") for layer in layers) == depth
    shapes = [layer.output[1:] for layer in layers if layer.type == "Conv2d"]
    stage = (depth - 2) // 3
    assert shapes == [(16, 32, 32)] * (stage + 1) + [(32, 16, 16)] * stage + [(64, 8, 8)] * stage


def test_shortcut_without_parameters() -> None:
    block = Block(2, 4, stride=2).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # only the shortcut is left
    x = torch.rand(1, 2, 6, 6)
    out = block(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert not out[:, 2:].any()


def test_initial_weights_keep_the_variance() -> None:
    """He et al. 2015: standard deviation sqrt(2 / fan)."""
    torch.manual_seed(0)
    model = create_model("cifar_resnet20", TEN)
    weight = model.net.layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    tower = create_model("alexnet_single_tower", TEN).net
    assert tower.fc7.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert [part.bias.mean().item() for part in (tower.conv1, tower.conv2, tower.conv3, tower.fc6, tower.fc8)] == [
        0, 1, 0, 1, 0,
    ]  # fmt: skip
    bound = 2.4 / 400
    assert create_model("lenet5", TEN).net.c5.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
