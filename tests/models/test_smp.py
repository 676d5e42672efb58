"""SMP's networks: all of its decoders, encoders of three origins, and where they start from."""

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional as F

from tests.models.checkpoints import saved
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import create_model, model_names
from vision_tasks.models.summary import summarise
from vision_tasks.models.transfer import start_from
from vision_tasks.models.weights import known_weights
from vision_tasks.types import IGNORE, Masks

CLASSES = ("sky", "sea", "sand")
# As small as they come; a transformer for the one decoder that takes no others.
SMALL = {
    name: "tu-test_vit" if name == "dpt" else "mobilenet_v2"
    for name in ("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus",
                 "upernet", "segformer", "dpt")
}  # fmt: skip


def masks(height: int, width: int, count: int = 2) -> Masks:
    index = torch.randint(0, 3, (count, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    index[:, :9, 5:] = IGNORE
    return Masks(index, 3)


def test_every_decoder_is_here() -> None:
    assert set(SMALL) == set(smp.MODEL_ARCHITECTURES_MAPPING)
    assert set(SMALL) <= set(model_names("segment"))


@pytest.mark.parametrize("arch", SMALL)
def test_learns_from_one_image_of_odd_size(arch: str) -> None:
    """Gradients reach everything, also where one image leaves batch normalisation a single value a channel."""
    torch.manual_seed(0)
    model = create_model(f"{arch}:{SMALL[arch]}", CLASSES).train()
    losses = model(torch.rand(1, 3, 65, 97), masks(65, 97, 1))
    assert losses.keys() == {"cross_entropy", "dice"}
    torch.stack(list(losses.values())).sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    prediction = model.predict(torch.rand(2, 3, 40, 41))
    assert prediction.probability is not None
    assert prediction.probability.shape == (2, 3, 40, 41)


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


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "mit_b0"])
def test_unet_computes_what_smps_own_does(encoder: str) -> None:
    """Logits and gradients, in float64; its tensors have the same names. One of these encoders lacks a skip."""
    torch.manual_seed(0)
    model = create_model(f"unet:{encoder}", CLASSES).double().eval()
    theirs = smp.create_model("unet", encoder, encoder_weights=None, classes=3).double().eval()
    theirs.load_state_dict(model.net.state_dict())
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    expected, found = theirs(images), model.net(images)
    torch.testing.assert_close(found, expected)
    for logits in (expected, found):
        logits.square().sum().backward()
    ours = dict(model.net.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, msg=name)


def test_other_losses_and_class_weights() -> None:
    torch.manual_seed(0)
    model = create_model("unet:mobilenet_v2", CLASSES).eval()
    images, truth, weight = torch.rand(2, 3, 64, 96), masks(64, 96), torch.tensor([1.0, 2.0, 5.0])
    logits = model.net((images - model.mean) / model.std)
    model.learn_by(["jaccard", "cross_entropy"], class_weight=weight)
    losses = model(images, truth)
    index = truth.index.long()
    assert list(losses) == ["jaccard", "cross_entropy"]
    jaccard = smp.losses.JaccardLoss("multiclass", ignore_index=IGNORE, class_weights=weight.tolist())
    torch.testing.assert_close(losses["jaccard"], jaccard(logits, index))
    expected = F.cross_entropy(logits, index, weight=weight, ignore_index=IGNORE)
    torch.testing.assert_close(losses["cross_entropy"], expected)
    model.learn_by(())
    assert model(images, truth).keys() == {"cross_entropy", "dice"}
    assert "class_weight" not in model.state_dict()


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
    other = create_model("fpn:tu-resnet10t", CLASSES, channels=5)
    assert other.predict(torch.rand(1, 5, 40, 41)).index.shape == (1, 40, 41)
    with pytest.raises(UserError, match=r"unknown encoder 'resnet19'; did you mean .*resnet18"):
        create_model("unet:resnet19", CLASSES)


@pytest.mark.parametrize(
    "name",
    [
        "unetplusplus:mit_b0",
        "deeplabv3:densenet121",
        "dpt:resnet18",
        "unet:tu-nothing",
        "unet:tu-swin_tiny_patch4_window7_224",
        "upernet:tu-swin_tiny_patch4_window7_224",
        "unet:tu-maxvit_pico_rw_256",
    ],
)
def test_encoders_that_a_decoder_cannot_take(name: str) -> None:
    arch, _, encoder = name.partition(":")
    with pytest.raises(UserError, match=rf"{arch} can't be built on the encoder '{encoder}' \(.+\); use another, as "):
        create_model(name, CLASSES)


def test_an_error_without_words_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **options: object) -> nn.Module:
        raise NotImplementedError

    monkeypatch.setattr(smp, "create_model", refuse)
    with pytest.raises(UserError, match=r"encoder 'resnet18' \(NotImplementedError\); use another"):
        create_model("unet:resnet18", CLASSES)


def test_parts_that_no_decoder_looks_at_are_left_out() -> None:
    """PSPNet takes an eighth of the resolution: what lies deeper would be three quarters of its ResNet."""
    model = create_model("pspnet:resnet18", CLASSES)
    names = {name.partition(".")[0] for name, _ in model.backbone.named_parameters()}
    assert names == {"conv1", "bn1", "layer1", "layer2"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("fpn:resnet18", "resnet18"),
        ("deeplabv3plus:resnet18", "resnet18"),
        ("pspnet:resnet18", "resnet18"),
        ("unet:mobilenet_v2", "mobilenet_v2"),
        ("unet:tu-resnet10t", "timm/resnet10t"),
        ("dpt:tu-test_vit", "timm/test_vit"),
        pytest.param("unet:vgg11_bn", "vgg11_bn", marks=pytest.mark.slow),
        pytest.param("linknet:resnext50_32x4d", "resnext50_32x4d", marks=pytest.mark.slow),
    ],
)
def test_an_encoder_starts_from_a_classifier(tmp_path: Path, name: str, source: str) -> None:
    path = saved(tmp_path, source, ("a", "b"))
    model, other = create_model(name, CLASSES), load_model(path)[0]
    count = len(model.backbone.state_dict())
    account = start_from(model, path)
    assert account.startswith(f"took {count} of {count} tensors of the backbone from {source}")
    theirs = other.backbone.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.backbone.state_dict().items())


def test_an_encoder_starts_from_torchvisions_file(tmp_path: Path) -> None:
    """As behind a weight card: a state dict under torchvision's names."""
    source = create_model("resnet18", CLASSES)
    torch.save(source.net.state_dict(), tmp_path / "resnet18.pth")
    model = create_model("unet:resnet18", CLASSES)
    assert start_from(model, tmp_path / "resnet18.pth").startswith("took 120 of 120 tensors of the backbone")
    assert torch.equal(model.net.encoder.layer4[1].conv2.weight, source.net.layer4[1].conv2.weight)


def test_an_encoder_with_other_names_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "mobilenet_v2", ("a", "b"))
    with pytest.raises(UserError, match=r"the backbone of mobilenet_v2 does not fit unet:resnet18: 0 of 60 tensors"):
        start_from(create_model("unet:resnet18", CLASSES), path)


def test_weights_that_could_start_an_encoder() -> None:
    assert known_weights("unet:resnet18") == ("resnet18_imagenet1k_v1",)
    assert known_weights("deeplabv3plus:resnet50") == ("resnet50_imagenet1k_v2", "resnet50_imagenet1k_v1")
    assert known_weights("unet:efficientnet-b0") == ()


def test_operations_of_transposed_convolutions_are_counted() -> None:
    """Linknet's last block by hand: 64 -> 16 channels, a transposed convolution of 4x4 and stride 2, 16 -> 32."""
    model = create_model("linknet:resnet18", CLASSES)
    layers = {layer.name: layer for layer in summarise(model, 64).layers}
    rise = next(part for part in reversed(list(layers.values())) if part.type == "ConvTranspose2d")
    assert rise.output == (1, 16, 64, 64)
    assert rise.parameters == 16 * 16 * 16 + 16
    # Each place of the smaller map is multiplied with all of the 4x4 kernel.
    assert rise.multiply_adds == 32 * 32 * 16 * 16 * 16
    net: nn.Module = model.net
    assert sum(parameter.numel() for parameter in net.parameters()) == summarise(model, 64).parameters
