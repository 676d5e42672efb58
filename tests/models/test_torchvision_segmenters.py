"""torchvision's networks for masks: their losses, their cards, and their published files.

The real files are too large to be fetched here: these have their form, with random weights and statistics.
"""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model, get_model_weights

from tests.models.checkpoints import saved
from vision_tasks.cards import class_names, weight_card, weight_cards_for
from vision_tasks.models import weights
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import MODELS, create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.types import IGNORE, Masks

CLASSES = ("sky", "sea", "sand")
NAMES = [name for name, entry in MODELS.items() if (entry.task, entry.family) == ("segment", "torchvision")]


def masks(count: int = 2) -> Masks:
    index = torch.randint(0, 3, (count, 65, 97), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    index[:, :9, 5:] = IGNORE
    return Masks(index, 3)


@pytest.mark.parametrize("name", NAMES)
def test_cards_repeat_torchvision(name: str) -> None:
    (card,), (entry,) = weight_cards_for(name, "coco"), get_model_weights(name)
    assert card.name == f"{name}_{entry.name.lower()}"
    assert (card.task, card.best, card.source) == ("segment", True, "torchvision")
    assert card.url == entry.url
    assert entry.url.endswith(f"-{card.sha256_prefix}.pth")
    assert card.parameters == entry.meta["num_params"]
    assert card.mebibytes == entry.meta["_file_size"]
    published = entry.meta["_metrics"]["COCO-val2017-VOC-labels"]
    assert card.scores == {"miou": published["miou"], "pixel_accuracy": published["pixel_acc"]}
    assert ["__background__", *class_names(card)[1:]] == entry.meta["categories"]
    assert class_names(card)[0] == "background"
    with torch.device("meta"):
        model = create_model(name, class_names(card))
    assert sum(parameter.numel() for parameter in model.parameters()) == card.parameters


def randomised(name: str) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = get_model(name, weights=None, weights_backbone=None, num_classes=21, **auxiliary(name))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def auxiliary(name: str) -> dict[str, bool]:
    return {} if name.startswith("lraspp") else {"aux_loss": True}


SLOW = ("fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NAMES]
)
def test_a_card_gives_torchvisions_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, net = weight_card(f"{name}_coco_with_voc_labels_v1"), randomised(name)
    place = tmp_path / "weights" / card.url.rsplit("/", 1)[-1]
    place.parent.mkdir()
    torch.save(net.state_dict(), place)
    monkeypatch.setattr(weights, "fetch", lambda *call: call[1])
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path))
    model, described = load_model(card.name)
    assert (model.info.classes[15], described.input.canvas) == ("person", (693, 693))
    images = torch.rand(1, 3, 65, 97)
    preset = get_model_weights(name).DEFAULT.transforms()
    normal = (images - torch.tensor(preset.mean)[:, None, None]) / torch.tensor(preset.std)[:, None, None]
    with torch.no_grad():
        expected = net(normal)["out"].softmax(dim=1)
    torch.testing.assert_close(model.predict(images).probability, expected)
    start = create_model(name, CLASSES, weights="coco")
    layer = next(key for key in net.state_dict() if key.startswith("backbone"))
    assert torch.equal(start.net.state_dict()[layer], net.state_dict()[layer])


def test_losses_are_those_of_torchvisions_reference() -> None:
    """references/segmentation/train.py: cross-entropy of the output and half of that of the auxiliary one."""
    torch.manual_seed(0)
    model = create_model("deeplabv3_mobilenet_v3_large", CLASSES).eval()
    images, truth = torch.rand(2, 3, 65, 97), masks()
    found = model.net((images - model.mean) / model.std)
    expected = {name: F.cross_entropy(found[name], truth.index.long(), ignore_index=IGNORE) for name in found}
    losses = model(images, truth)
    assert losses.keys() == {"cross_entropy", "cross_entropy_aux"}
    torch.testing.assert_close(losses["cross_entropy"], expected["out"])
    torch.testing.assert_close(losses["cross_entropy_aux"], 0.5 * expected["aux"])
    model.learn_by(["dice", "focal"])
    assert list(model(images, truth)) == ["dice", "focal", "dice_aux", "focal_aux"]


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_learns_from_one_image(name: str) -> None:
    """Its global pooling leaves batch normalisation a single value a channel."""
    torch.manual_seed(0)
    model = create_model(name, CLASSES).train()
    torch.stack(list(model(torch.rand(1, 3, 65, 97), masks(1)).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("deeplabv3_mobilenet_v3_large", "mobilenet_v3_large"),
        ("lraspp_mobilenet_v3_large", "mobilenet_v3_large"),
        ("fcn_resnet50", "resnet50"),
    ],
)
def test_a_backbone_starts_from_a_classifier(tmp_path: Path, name: str, source: str) -> None:
    path = saved(tmp_path, source, ("a", "b"))
    model = create_model(name, CLASSES)
    count = len(model.backbone.state_dict())
    assert start_from(model, path).startswith(f"took {count} of {count} tensors of the backbone from {source}")
