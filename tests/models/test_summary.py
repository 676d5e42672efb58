"""Layers, parameters and multiply-adds against published totals and hand-made counts."""

import pytest
import torch
import torchvision
from torch import nn

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.registry import create_model
from vision_tasks.models.summary import Summary, summarise, table

IMAGENET = [str(i) for i in range(1000)]


def on_meta(name: str, image_size: int, classes: int = 1000) -> Summary:
    with torch.device("meta"):
        return summarise(create_model(name, IMAGENET[:classes]), image_size)


def test_lenet5_by_hand() -> None:
    summary = on_meta("lenet5", 28, 10)
    rows = [
        (layer.name.removeprefix("net."), layer.output[1:], layer.parameters, layer.multiply_adds)
        for layer in summary.layers
    ]
    assert rows == [
        ("canvas", (1, 28, 28), 0, 0),
        ("pad", (1, 32, 32), 0, 0),
        ("c1", (6, 28, 28), 156, 28 * 28 * 6 * 25),
        ("tanh1", (6, 28, 28), 0, 0),
        ("s2", (6, 14, 14), 0, 0),
        ("c3", (16, 10, 10), 2_416, 10 * 10 * 16 * 6 * 25),
        ("tanh3", (16, 10, 10), 0, 0),
        ("s4", (16, 5, 5), 0, 0),
        ("c5", (120, 1, 1), 48_120, 48_000),
        ("tanh5", (120, 1, 1), 0, 0),
        ("flatten", (120,), 0, 0),
        ("f6", (84,), 10_164, 10_080),
        ("tanh6", (84,), 0, 0),
        ("output", (10,), 850, 840),
    ]
    assert (summary.parameters, summary.multiply_adds) == (61_706, 416_520)


@pytest.mark.parametrize(
    ("name", "parameters", "billions", "image_size"),
    [
        ("alexnet", 61_100_840, 0.714, 224),
        ("alexnet_single_tower", 62_378_344, 1.135, 227),
        ("vgg16", 138_357_544, 15.470, 224),
        ("resnet18", 11_689_512, 1.814, 224),
        ("resnet50", 25_557_032, 4.089, 224),
    ],
)
def test_known_totals(name: str, parameters: int, billions: float, image_size: int) -> None:
    summary = on_meta(name, image_size)
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, abs=5e-4)


@pytest.mark.parametrize(
    "name", ["vgg11_bn", "resnext50_32x4d", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "inception_v3"]
)
def test_torchvisions_published_totals(name: str) -> None:
    weights = next(iter(torchvision.models.get_model_weights(name)))
    summary = on_meta(name, weights.transforms().crop_size[0])
    assert summary.parameters == weights.meta["num_params"]
    assert summary.multiply_adds / 1e9 == pytest.approx(weights.meta["_ops"], abs=5.1e-4)


def test_a_dense_layer_on_a_whole_image() -> None:
    info = ModelInfo("dense", "test", tuple(IMAGENET), 1, "Apache-2.0")
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(224 * 224 * 3, 1000))
        summary = summarise(Classifier(info, net, "1"), 224)
    assert summary.parameters == 150_529_000
    assert summary.multiply_adds == 150_528_000


def test_attention_is_counted() -> None:
    """ViT-Ti: 12 blocks on 197 tokens of 192, and 5,717,416 parameters with its class token and positions."""
    summary = on_meta("timm/vit_tiny_patch16_224", 224)
    tokens, width = 197, 192
    block = tokens * width * (3 * width + width + 8 * width) + 2 * tokens * tokens * width
    assert summary.multiply_adds == 196 * 768 * width + 12 * block + width * 1000
    assert summary.parameters == 5_717_416
    assert sum(layer.parameters for layer in summary.layers) == 5_717_416 - 198 * width


def test_shared_layers_count_once_in_parameters_and_twice_in_operations() -> None:
    info = ModelInfo("twice", "test", ("a", "b"), 1, "Apache-2.0")
    layer = nn.Conv2d(3, 3, 1, bias=False)
    net = nn.Sequential(layer, layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    summary = summarise(Classifier(info, net, "4"), 8)
    assert summary.parameters == 9 + 8
    assert summary.multiply_adds == 2 * 9 * 64 + 6
    assert [layer.multiply_adds for layer in summary.layers] == [2 * 9 * 64, 0, 0, 6]


def test_other_tasks_and_no_side_effect() -> None:
    yolo = create_model("yolov8n", IMAGENET[:80])
    flags = [module.training for module in yolo.modules()]
    summary = summarise(yolo, 640)
    assert [module.training for module in yolo.modules()] == flags
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in yolo.net.model[0].modules())
    assert summary.parameters / 1e6 == pytest.approx(3.15, abs=0.01)  # published: 3.2 million, 8.7 billion operations
    assert 2 * summary.multiply_adds / 1e9 == pytest.approx(8.7, abs=0.1)
    faster = summarise(create_model("fasterrcnn_mobilenet_v3_large_320_fpn", ("a",)), 64)
    assert faster.layers[0].output == ()  # torchvision's transform, which gives lists of images
    assert faster.layers[1].output[1:] == (16, 32, 32)
    unet = summarise(create_model("unet:resnet18", ("a", "b"), channels=3), 64)
    assert unet.layers[-1].output[1:] == (2, 64, 64)


def test_table() -> None:
    lines = table(on_meta("lenet5", 28, 10)).splitlines()
    assert len(lines) == 16
    assert lines[0].split() == ["layer", "type", "output", "parameters", "multiply-adds"]
    assert lines[3].split() == ["net.c1", "Conv2d", "6x28x28", "156", "117,600"]
    assert lines[-1].split() == ["total", "3x28x28", "61,706", "416,520"]
    assert len({len(line) for line in lines}) == 1
