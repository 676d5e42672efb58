"""SMP's networks against torch's and SMP's own losses."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.models.registry import create_model
from vision_tasks.types import IGNORE, Masks

CLASSES = ("sky", "sea", "sand")


def masks(height: int, width: int) -> Masks:
    index = torch.randint(0, 3, (2, height, width)).to(torch.uint8)
    index[:, :9, 5:] = IGNORE
    return Masks(index, 3)


def test_losses_are_those_of_torch_and_smp() -> None:
    torch.manual_seed(0)
    model = create_model("unet:resnet18", CLASSES).eval()
    images, truth = torch.rand(2, 3, 64, 96), masks(64, 96)
    logits = model.net((images - model.mean) / model.std)
    index = truth.index.long()
    losses = model(images, truth)
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(logits, index, ignore_index=IGNORE))
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(logits, index)
    torch.testing.assert_close(losses["dice"], dice)


def test_one_hot_probabilities_mean_their_index() -> None:
    torch.manual_seed(0)
    model = create_model("unet:resnet18", CLASSES).eval()
    images, hard = torch.rand(2, 3, 64, 64), masks(64, 64)
    soft = Masks(hard.index, 3, hard.dense() + (hard.index == IGNORE)[:, None] * 0.3)  # what is ignored must not count
    expected, found = model(images, hard), model(images, soft)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss)


def test_any_size_is_padded_and_cropped() -> None:
    torch.manual_seed(0)
    model = create_model("unet:resnet18", CLASSES).eval()
    images = torch.rand(1, 3, 33, 50)
    normal = torch.zeros(1, 3, 64, 64)
    normal[:, :, :33, :50] = (images - model.mean) / model.std
    with torch.no_grad():
        expected = model.net(normal)[:, :, :33, :50].softmax(dim=1)
    torch.testing.assert_close(model.predict(images).probability, expected)


def test_encoders() -> None:
    assert create_model("unet", CLASSES).info.name == "unet:resnet34"
    other = create_model("unet:mobilenet_v2", CLASSES)
    assert other.predict(torch.rand(1, 3, 40, 41)).index.shape == (1, 40, 41)
    with pytest.raises(UserError, match=r"unknown encoder 'resnet19'; did you mean .*resnet18"):
        create_model("unet:resnet19", CLASSES)
