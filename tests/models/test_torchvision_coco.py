"""torchvision's published detectors: cards, and files made as theirs were, against torchvision's own way of loading.

The real files are too large to be fetched here: these have their form, with random weights and statistics.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops import FrozenBatchNorm2d

from tests.models.test_torchvision_detectors import NAMES
from vision_tasks.cards import class_ids, class_names, weight_card, weight_cards_for
from vision_tasks.models import torchvision_coco, torchvision_detectors, weights
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import Boxes

FROZEN = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
LIMITS = {"rpn_post_nms_top_n_test": 50}


@pytest.fixture(autouse=True)
def _few_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    faster = torchvision_detectors.FasterRCNN
    monkeypatch.setattr(faster, "options", faster.options | LIMITS)


@pytest.mark.parametrize("name", NAMES)
def test_cards_repeat_torchvision(name: str) -> None:
    (card,), (entry,) = weight_cards_for(name, "coco"), get_model_weights(name)
    assert card.name == f"{name}_{entry.name.lower()}"
    assert (card.task, card.best, card.source) == ("detect", True, "torchvision")
    assert card.url == entry.url
    assert entry.url.endswith(f"-{card.sha256_prefix}.pth")
    assert card.parameters == entry.meta["num_params"]
    assert card.mebibytes == entry.meta["_file_size"]
    assert card.scores == {"map": entry.meta["_metrics"]["COCO-val2017"]["box_map"]}
    named = {number: word for number, word in enumerate(entry.meta["categories"]) if number and word != "N/A"}
    assert dict(zip(class_ids(card), class_names(card), strict=True)) == named
    assert set(range(1, 91)) - named.keys() == GAPS


def published(name: str, canvas: tuple[int, int]) -> Any:
    """torchvision's model as it is after loading its COCO weights, but with random ones."""
    torch.manual_seed(0)
    limit = {"min_size": min(canvas), "max_size": max(canvas)} if "fpn" in name else {}
    few = {"box_score_thresh": 0.001, **LIMITS} if name.startswith("faster") else {"score_thresh": 0.001}
    if not name.startswith("faster"):
        few["detections_per_img"] = 100
    net = get_model(name, weights=None, weights_backbone=None, num_classes=91, **limit, **few)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 2)
        norm.momentum = 1.0
    if name.startswith("ssdlite"):  # its weights begin so small that otherwise all places look the same
        with torch.no_grad():
            net.backbone.train()(torch.randn(4, 3, *canvas))
    if name in FROZEN:
        freeze(net.backbone.body)
        overwrite_eps(net, 0.0 if name in ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn") else 1e-5)
    with torch.no_grad():
        teach(net, name, canvas)
    return net.eval()


def freeze(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        freeze(child)
        if isinstance(child, nn.BatchNorm2d):
            with torch.no_grad():
                child.running_var[0], child.weight[0] = 1e-6, 1e-3  # where the epsilon decides
            frozen = FrozenBatchNorm2d(child.num_features)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen)


def teach(net: nn.Module, name: str, canvas: tuple[int, int]) -> None:
    """Scores that differ, and none for what has no name; of a softmax it would have a share, if a small one."""
    unnamed = [*GAPS] if name.startswith(("faster", "ssd")) else [0, *GAPS]
    layers = [
        layer
        for path, layer in net.named_modules()
        if ("cls_score" in path or "classification_head" in path) and getattr(layer, "bias", None) is not None
        if len(layer.bias) % 91 == 0
    ]
    spread: dict[nn.Module, Tensor] = {}
    hooks = [layer.register_forward_hook(lambda layer, _, out: spread.update({layer: out.std()})) for layer in layers]
    net.eval()(list(torch.rand(1, 3, *canvas)))
    for layer, hook in zip(layers, hooks, strict=True):
        hook.remove()
        layer.weight.mul_(3 / spread[layer])
        layer.bias.view(-1, 91)[:] = -2.0
        layer.bias.view(-1, 91)[:, unnamed] = -50
        layer.weight.view(-1, 91, *layer.weight.shape[1:])[:, unnamed] = 0


def ours(name: str, state: dict[str, Tensor]) -> TaskModel[Boxes]:
    card = weight_card(f"{name}_coco_v1")
    model = create_model(name, class_names(card))
    model.info = replace(model.info, class_ids=class_ids(card))
    missing, unknown = model.net.load_state_dict(model.from_published(state), strict=False)
    assert unknown == []
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return model.eval()


CANVASES = {"ssdlite320_mobilenet_v3_large": (320, 320), "ssd300_vgg16": (300, 300)}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "ssd300_vgg16" else []) for name in NAMES]
)
def test_loaded_weights_predict_what_torchvision_does(name: str) -> None:
    canvas = CANVASES.get(name, (64, 96))
    net = published(name, canvas)
    model = ours(name, old_names(net.state_dict(), name))
    images = torch.rand(2, 3, *canvas)
    found = model.predict(images)
    with torch.no_grad():
        expected = net(list(images))
    numbers = torch.tensor(model.info.class_ids)
    for i, image in enumerate(expected):
        one = found.image(i)
        assert len(image["labels"].unique()) > 3
        check_near(numbers[one.label[0]], one, image)


def old_names(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """RetinaNet's first file is older than the blocks in its heads."""
    if name != "retinanet_resnet50_fpn":
        return state
    block = re.compile(r"\.conv\.(\d)\.0\.")
    return {block.sub(lambda found: f".conv.{2 * int(found[1])}.", key): tensor for key, tensor in state.items()}


def check_near(numbers: Tensor, one: Boxes, image: dict[str, Tensor]) -> None:
    """The same boxes to 0.01 px and 1e-4 in score; of nearly equal scores any may come first."""
    assert one.score is not None
    assert len(numbers) == len(image["labels"])
    away = (one.xyxy[0, :, None] - image["boxes"][None]).abs().amax(dim=-1) > 0.01
    away |= (one.score[0, :, None] - image["scores"][None]).abs() > 1e-4
    away |= numbers[:, None] != image["labels"][None]
    assert (~away).any(dim=0).all()
    assert (~away).any(dim=1).all()


def test_an_epsilon_moves_into_the_factors() -> None:
    torch.manual_seed(0)
    frozen, norm = FrozenBatchNorm2d(3, eps=0.0), nn.BatchNorm2d(3)
    state = {
        "weight": torch.rand(3), "bias": torch.rand(3),
        "running_mean": torch.rand(3), "running_var": torch.tensor([1e-12, 1e-5, 2.0]),
    }  # fmt: skip
    frozen.load_state_dict(state)
    named = {f"bn.{name}": tensor for name, tensor in state.items()}
    folded = torchvision_coco.with_epsilon(named, norm.eps)
    assert {name for name in named if not torch.equal(named[name], folded[name])} == {"bn.weight"}
    norm.load_state_dict({name.removeprefix("bn."): tensor for name, tensor in folded.items()}, strict=False)
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(norm.eval()(images), frozen(images))


def test_outputs_of_all_layouts_are_cut() -> None:
    """By hand: two anchors with an output for 0 to 3 each, of which 1 and 3 are kept; a box for each number."""
    anchors, corners = torch.arange(8.0), torch.arange(16.0)[:, None]
    tensors = {"head.cls_logits.bias": anchors, "bbox_pred.weight": corners, "same": torch.zeros(3)}
    own = {"head.cls_logits.bias": torch.zeros(4), "bbox_pred.weight": torch.zeros(8, 1), "same": torch.zeros(3)}
    cut = torchvision_coco.only_outputs(tensors, own, (1, 3))
    assert cut["head.cls_logits.bias"].tolist() == [1, 3, 5, 7]
    assert cut["bbox_pred.weight"][:, 0].tolist() == [4, 5, 6, 7, 12, 13, 14, 15]
    assert cut["same"] is tensors["same"]


def test_a_card_gives_torchvisions_detector_for_the_named_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the cache, where its file was put; the class list and the numbers of COCO come along, also into a run."""
    name, canvas = "fasterrcnn_mobilenet_v3_large_320_fpn", (64, 96)
    card, net = weight_card(f"{name}_coco_v1"), published("fasterrcnn_mobilenet_v3_large_320_fpn", canvas)
    place = tmp_path / "weights" / card.url.rsplit("/", 1)[-1]
    place.parent.mkdir()
    torch.save(net.state_dict(), place)
    monkeypatch.setattr(weights, "fetch", lambda *call: call[1])
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path))
    model, described = load_model(f"{name}_coco_v1")
    assert (len(model.info.classes), model.info.class_ids[-1], described.class_ids) == (80, 90, model.info.class_ids)
    images = torch.rand(1, 3, *canvas)
    one = model.predict(images).image(0)
    with torch.no_grad():
        check_near(torch.tensor(model.info.class_ids)[one.label[0]], one, net(list(images))[0])
    start = create_model(name, ("a", "b"), weights="coco")
    assert torch.equal(start.net.rpn.head.conv[0][0].weight, net.rpn.head.conv[0][0].weight)
