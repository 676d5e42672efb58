"""Names are those of `models show`, maps those that the network computes, and nothing is changed by looking."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.explanations.layers import chosen_layer, layers_of, maps_of, watched
from vision_tasks.models.registry import create_model
from vision_tasks.models.summary import summarise


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model("resnet18", ["a", "b", "c"]).eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_names_and_shapes_are_those_that_models_show_prints(model: nn.Module, image: torch.Tensor) -> None:
    layers = layers_of(model, image)
    shown = [layer for layer in summarise(model, 64).layers if len(layer.output) == 4]
    assert {layer.name for layer in shown} <= layers.keys()
    for layer in shown:
        assert (layers[layer.name].channels, *layers[layer.name].size) == layer.output[1:]
    assert "net.fc" not in layers


def test_blocks_are_layers_and_the_last_of_the_backbone_is_the_default(model: nn.Module, image: torch.Tensor) -> None:
    layers = layers_of(model, image)
    assert layers["net.layer2.0"].channels == 128
    assert chosen_layer(layers, None).name == "net.layer4"
    assert chosen_layer(layers, "net.layer1.0.conv1").size == (16, 16)


def test_a_wrong_name_is_answered_with_the_right_one(model: nn.Module, image: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"unknown layer with maps 'net\.layr4'; did you mean net\.layer4"):
        chosen_layer(layers_of(model, image), "net.layr4")


def test_a_network_without_convolutions_has_none() -> None:
    with pytest.raises(UserError, match="mlp has no convolutions"):
        layers_of(create_model("mlp", ["a", "b"]), torch.rand(1, 3, 28, 28))


@pytest.mark.parametrize(
    ("name", "side", "last"),
    [
        ("lenet5", 28, "net.s4"),
        ("unet:resnet18", 64, "net.encoder.layer4"),
        ("yolo11n", 64, "net.model.10"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", 64, "net.backbone.body.16"),
        ("timm/vit_tiny_patch16_224", 224, "net.patch_embed.proj"),  # what comes after has no places
    ],
)
def test_the_default_of_other_families(name: str, side: int, last: str) -> None:
    model = create_model(name, ["a", "b"]).eval()
    assert chosen_layer(layers_of(model, torch.rand(1, 3, side, side)), None).name == last


def test_an_activation_that_all_blocks_share_is_none_of_theirs() -> None:
    layers = layers_of(create_model("yolo11n", ["a"]).eval(), torch.rand(1, 3, 64, 64))
    assert "net.model.0.conv" in layers
    assert "net.model.0.act" not in layers


def test_the_maps_are_what_the_layer_computes_before_anything_changes_them(
    model: nn.Module, image: torch.Tensor
) -> None:
    """torchvision's ReLU works in place on what its normalisation gave."""
    layers = layers_of(model, image)
    net = model.net
    with torch.no_grad():
        expected = net.bn1(net.conv1((image - model.mean) / model.std))
        relu = F.relu(net.bn1(net.conv1((image - model.mean) / model.std)))
    assert (expected < 0).any()
    assert maps_of(model, layers["net.bn1"], image).equal(expected)
    with watched(model, layers["net.bn1"]) as kept:
        model.predict(image)
    assert kept[0].equal(expected)
    assert maps_of(model, layers["net.relu"], image).equal(relu)


def test_of_several_runs_the_last_is_meant(model: nn.Module, image: torch.Tensor) -> None:
    layers = layers_of(model, image)
    assert layers["net.layer4.1.relu"].runs == 2
    last = maps_of(model, layers["net.layer4.1.relu"], image)
    assert last.equal(maps_of(model, layers["net.layer4"], image))


def test_nothing_behind_the_layer_is_computed(model: nn.Module, image: torch.Tensor) -> None:
    layers = layers_of(model, image)
    ran = []
    handle = model.net.layer2.register_forward_hook(lambda *_: ran.append(1))
    maps_of(model, layers["net.layer1"], image)
    handle.remove()
    assert not ran


def test_no_hook_and_no_mode_is_left(model: nn.Module, image: torch.Tensor) -> None:
    model.train()
    layers = layers_of(model, image)
    maps_of(model, layers["net.layer3"], image)
    assert model.training
    assert not any(part._forward_hooks for part in model.modules())
    model.eval()
