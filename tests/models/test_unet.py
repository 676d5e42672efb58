"""The original U-Net against the paper's numbers."""

import pytest
import torch
from torch import nn

from vision_tasks.errors import UserError
from vision_tasks.models.registry import create_model
from vision_tasks.models.unet import OriginalUnet
from vision_tasks.types import Masks


@pytest.fixture(scope="module")
def model() -> OriginalUnet:
    torch.manual_seed(0)
    model = create_model("unet_original", ("a", "b", "c", "d"))
    assert isinstance(model, OriginalUnet)
    return model


def test_parameters_by_hand(model: OriginalUnet) -> None:
    """Layer by layer from figure 1 of the paper, for 3 channels and 4 classes: weights, and a bias an output."""
    contracting = [
        3 * 9 * 64 + 64, 64 * 9 * 64 + 64,
        64 * 9 * 128 + 128, 128 * 9 * 128 + 128,
        128 * 9 * 256 + 256, 256 * 9 * 256 + 256,
        256 * 9 * 512 + 512, 512 * 9 * 512 + 512,
        512 * 9 * 1024 + 1024, 1024 * 9 * 1024 + 1024,
    ]  # fmt: skip
    expansive = [
        1024 * 4 * 512 + 512, 1024 * 9 * 512 + 512, 512 * 9 * 512 + 512,
        512 * 4 * 256 + 256, 512 * 9 * 256 + 256, 256 * 9 * 256 + 256,
        256 * 4 * 128 + 128, 256 * 9 * 128 + 128, 128 * 9 * 128 + 128,
        128 * 4 * 64 + 64, 128 * 9 * 64 + 64, 64 * 9 * 64 + 64,
    ]  # fmt: skip
    count = sum(contracting) + sum(expansive) + 64 * 4 + 4
    assert sum(parameter.numel() for parameter in model.parameters()) == count == 31_031_940
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == sum(contracting)
    grey = create_model("unet_original", ("cell", "background"), channels=1)
    assert sum(parameter.numel() for parameter in grey.parameters()) == 31_030_658


def test_23_convolutional_layers(model: OriginalUnet) -> None:
    """'In total the network has 23 convolutional layers.'"""
    kinds = [type(part) for part in model.modules()]
    assert kinds.count(nn.Conv2d) + kinds.count(nn.ConvTranspose2d) == 23
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    rates = [[part.p for part in level.modules() if isinstance(part, nn.Dropout)] for level in model.net.down]
    assert rates == [[], [], [], [0.5], [0.5]]


def test_weights_are_gaussian_with_the_papers_deviation(model: OriginalUnet) -> None:
    """'For a 3x3 convolution and 64 feature channels in the previous layer N = 9 * 64 = 576.'"""
    second = model.net.down[0][2].weight
    assert second.shape == (64, 64, 3, 3)
    assert second.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert second.abs().max() > 3.5 * second.std()  # which no uniform distribution reaches
    rise = model.net.up[0].rise.weight
    assert rise.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)


def test_signals_keep_their_size_on_the_way(model: OriginalUnet) -> None:
    """What that initialisation is for."""
    with torch.no_grad():
        logits = model.eval().net(torch.randn(1, 3, 64, 64))
    assert logits.shape == (1, 4, 64, 64)
    assert 0.2 < logits.std() < 5


def test_padding_shows_the_network_the_mean_colour(model: OriginalUnet) -> None:
    images = torch.rand(1, 3, 17, 30)
    normal = torch.zeros(1, 3, 32, 32)
    normal[:, :, :17, :30] = (images - model.mean) / model.std
    with torch.no_grad():
        expected = model.eval().net(normal)[:, :, :17, :30].softmax(dim=1)
    torch.testing.assert_close(model.predict(images).probability, expected)


def test_more_classes_than_a_mask_can_hold_are_refused() -> None:
    classes = tuple(f"class {i}" for i in range(255))
    with pytest.raises(
        UserError, match=r"^unet_original: masks hold 254 classes at most, not 255; merge some classes$"
    ):
        create_model("unet_original", classes)
    assert create_model("unet_original", classes[:-1]).predict(torch.rand(1, 3, 16, 16)).index.dtype == torch.uint8


@pytest.mark.slow
def test_a_step_at_full_width() -> None:
    """Gradients reach everything, and the step that they lead to makes the loss smaller."""
    torch.manual_seed(0)
    whole = create_model("unet_original", ("ground", "object")).eval()  # without dropout: losses can be compared
    images = torch.rand(1, 3, 64, 64)
    truth = Masks((images.mean(dim=1) > 0.5).to(torch.uint8), 2)
    optimiser = torch.optim.SGD(whole.parameters(), lr=1e-3)
    before = whole(images, truth)["cross_entropy"]
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in whole.parameters())
    optimiser.step()
    with torch.no_grad():
        assert whole(images, truth)["cross_entropy"] < before


def test_learns_a_toy_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of its width, for speed: bright discs on noise."""
    monkeypatch.setattr("vision_tasks.models.unet.WIDTHS", (8, 16, 32, 64, 128))
    torch.manual_seed(0)
    small = create_model("unet_original", ("ground", "disc"))
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    centres = torch.randint(8, 24, (8, 2))
    discs = torch.stack([(rows - y) ** 2 + (columns - x) ** 2 < 36 for y, x in centres.tolist()])
    images = (0.3 * torch.rand(8, 3, 32, 32) + 0.4 * discs[:, None]).clamp(0, 1)
    truth = Masks(discs.to(torch.uint8), 2)
    optimiser = torch.optim.Adam(small.parameters(), lr=2e-3)
    values = []
    for _ in range(20):
        (value,) = small.train()(images, truth).values()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert sum(values[-3:]) < 0.3 * sum(values[:3])
    right = small.predict(images).index == truth.index
    assert right[discs].float().mean() > 0.8
    assert right[~discs].float().mean() > 0.95
