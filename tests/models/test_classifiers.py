"""Whole-image classifiers against plain torch, torchvision and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from vision_tasks.errors import UserError
from vision_tasks.models.registry import create_model
from vision_tasks.types import Labels

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def test_loss_and_probabilities_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", ("a", "b", "c")).eval()
    plain = torchvision.models.resnet18(num_classes=3).eval()
    plain.load_state_dict(model.net.state_dict())
    images, weight = torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])
    logits = plain(normalize(images, MEAN, STD))
    by_hand = -(weight * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = model(images, Labels(weight))["cross_entropy"]
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(loss, F.cross_entropy(logits, weight))
    hard = model(images, Labels(torch.eye(3)[[2, 0]]))["cross_entropy"]
    torch.testing.assert_close(hard, F.cross_entropy(logits, torch.tensor([2, 0])))
    torch.testing.assert_close(model.predict(images).weight, logits.softmax(dim=1))


def test_several_classes_at_once() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", ("a", "b", "c"), exclusive=False).eval()
    images, weight = torch.rand(2, 3, 32, 32), torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    logits = model.net(normalize(images, MEAN, STD))
    losses = model(images, Labels(weight))
    assert losses.keys() == {"binary_cross_entropy"}
    torch.testing.assert_close(losses["binary_cross_entropy"], F.binary_cross_entropy_with_logits(logits, weight))
    torch.testing.assert_close(model.predict(images).weight, logits.sigmoid())


def test_chosen_losses() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", ("a", "b", "c")).eval()
    names = list(model.state_dict())
    images, label = torch.rand(2, 3, 32, 32), torch.tensor([2, 0])
    logits = model.net(normalize(images, MEAN, STD))
    truth = Labels(torch.eye(3)[label])
    weight = torch.tensor([0.5, 1.0, 3.0])
    model.learn_by(["cross_entropy", "mse"], class_weight=weight.double())
    losses = model(images, truth)
    assert list(losses) == ["cross_entropy", "mse"]
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(logits, label, weight))
    model.learn_by([], label_smoothing=0.1)
    losses = model(images, truth)
    assert list(losses) == ["cross_entropy"]
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(logits, label, label_smoothing=0.1))
    assert list(model.state_dict()) == names  # a checkpoint doesn't depend on how it was trained
    with pytest.raises(UserError, match="unknown loss 'fokal'; did you mean focal"):
        model.learn_by(["fokal"])
    with pytest.raises(UserError, match="has losses of its own"):
        create_model("ssdlite320_mobilenet_v3_large", ("a", "b")).learn_by(["focal"])


def test_auxiliary_classifiers_of_googlenet() -> None:
    torch.manual_seed(0)
    model = create_model("googlenet", ("a", "b", "c")).train()
    plain = torchvision.models.googlenet(weights=None, num_classes=3, init_weights=False).train()
    plain.load_state_dict(model.net.state_dict())
    images, label = torch.rand(2, 3, 64, 64), torch.tensor([2, 0])
    torch.manual_seed(1)  # dropout
    losses = model(images, Labels(torch.eye(3)[label]))
    torch.manual_seed(1)
    expected = plain(normalize(images, [0.5] * 3, [0.5] * 3))
    assert losses.keys() == {"cross_entropy", "cross_entropy_aux1", "cross_entropy_aux2"}
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(expected.logits, label))
    torch.testing.assert_close(losses["cross_entropy_aux1"], 0.3 * F.cross_entropy(expected.aux_logits1, label))
    torch.testing.assert_close(losses["cross_entropy_aux2"], 0.3 * F.cross_entropy(expected.aux_logits2, label))
    assert model.eval()(images, Labels(torch.eye(3)[label])).keys() == {"cross_entropy"}


def test_auxiliary_classifier_of_inception() -> None:
    with torch.device("meta"):
        model = create_model("inception_v3", ("a", "b"))
        losses = model.train()(torch.rand(2, 3, 299, 299), Labels(torch.rand(2, 2)))
    assert losses.keys() == {"cross_entropy", "cross_entropy_aux"}


def test_normalisation_of_googlenet_is_that_of_its_weights() -> None:
    """torchvision feeds its pretrained GoogLeNet with ImageNet's statistics and changes them inside."""
    images = torch.rand(1, 3, 32, 32)
    model = create_model("googlenet", ("a",)).eval()
    plain = torchvision.models.googlenet(weights=None, num_classes=1, init_weights=False, transform_input=True).eval()
    expected = plain._transform_input(normalize(images, MEAN, STD))
    torch.testing.assert_close((images - model.mean) / model.std, expected)


def test_luma_is_that_of_opencv() -> None:
    colour = create_model("lenet5", ("a", "b", "c"))
    grey = create_model("lenet5", ("a", "b", "c"), channels=1)
    grey.load_state_dict(colour.state_dict())
    pixels = np.random.default_rng(0).random((28, 28, 3), dtype=np.float32)
    luma = torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[None, None]
    rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    torch.testing.assert_close(colour.predict(rgb).weight, grey.predict(luma).weight, atol=1e-6, rtol=0)


def test_further_channels() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", ("a", "b"), channels=6).eval()
    assert model.net.conv1.weight.shape == (64, 6, 7, 7)
    assert model.net.conv1.in_channels == 6
    torch.testing.assert_close(model.mean.flatten(), torch.tensor([*MEAN, *[sum(MEAN) / 3] * 3]))
    torch.testing.assert_close(model.std.flatten(), torch.tensor([*STD, *[sum(STD) / 3] * 3]))
    usual = create_model("resnet18", ("a", "b")).net.conv1.weight
    assert model.net.conv1.weight.std().item() == pytest.approx(usual.std().item() / 2**0.5, rel=0.05)
    images = torch.rand(1, 6, 32, 32)
    darker = images.clone()
    darker[:, 5] = 0
    assert not torch.equal(model.predict(images).weight, model.predict(darker).weight)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 32), ("alexnet_single_tower", 64), ("inception_v3", 64)])
def test_a_canvas_too_small(name: str, size: int) -> None:
    with torch.device("meta"):
        model = create_model(name, ("a", "b")).eval()
        with pytest.raises(UserError, match=f"{name}: images of {size}x{size} are too small; raise --image-size"):
            model.predict(torch.rand(1, 3, size, size))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_backbone_computes_what_the_classifier_sees(name: str) -> None:
    model = create_model(name, ("a", "b")).eval()
    images = torch.rand(1, 3, 64, 64)
    features = model.backbone((images - model.mean) / model.std)
    torch.testing.assert_close(features, model.features(images))
    head = model.net.get_submodule(model.head)
    torch.testing.assert_close(head(features).softmax(dim=1), model.predict(images).weight)
    assert isinstance(head, torch.nn.Linear)  # the network itself stays whole


def test_backbone_shares_its_tensors() -> None:
    with torch.device("meta"):
        model = create_model("vgg11", ("a", "b"))
    own = dict(model.net.named_parameters())
    assert {name for name in own if name not in dict(model.backbone.named_parameters())} == {
        "classifier.6.weight",
        "classifier.6.bias",
    }
    assert all(tensor is own[name] for name, tensor in model.backbone.named_parameters())


def test_unet_encoder_takes_a_classifiers_backbone() -> None:
    classifier, unet = create_model("resnet18", ("a", "b")), create_model("unet:resnet18", ("x", "y", "z"))
    assert classifier.backbone.state_dict().keys() == unet.backbone.state_dict().keys()
    unet.backbone.load_state_dict(classifier.backbone.state_dict())
    assert torch.equal(unet.net.encoder.layer4[1].conv2.weight, classifier.net.layer4[1].conv2.weight)
