"""torchvision's ResNets against plain torch."""

import torch
import torchvision
from torch.nn import functional as F

from vision_tasks.models.registry import create_model
from vision_tasks.types import Labels


def test_loss_and_probabilities_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", ("a", "b", "c")).eval()
    plain = torchvision.models.resnet18(num_classes=3).eval()
    plain.load_state_dict(model.net.state_dict())
    images, weight = torch.rand(2, 3, 64, 64), torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])
    normal = torchvision.transforms.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    logits = plain(normal)
    by_hand = -(weight * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = model(images, Labels(weight))["cross_entropy"]
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(loss, F.cross_entropy(logits, weight))
    hard = model(images, Labels(torch.eye(3)[[2, 0]]))["cross_entropy"]
    torch.testing.assert_close(hard, F.cross_entropy(logits, torch.tensor([2, 0])))
    torch.testing.assert_close(model.predict(images).weight, logits.softmax(dim=1))


def test_backbone_computes_what_the_classifier_sees() -> None:
    model = create_model("resnet18", ("a", "b")).eval()
    images = torch.rand(1, 3, 64, 64)
    features = model.backbone((images - model.mean) / model.std).flatten(1)
    torch.testing.assert_close(model.net.fc(features).softmax(dim=1), model.predict(images).weight)


def test_unet_encoder_takes_a_classifiers_backbone() -> None:
    classifier, unet = create_model("resnet18", ("a", "b")), create_model("unet:resnet18", ("x", "y", "z"))
    assert classifier.backbone.state_dict().keys() == unet.backbone.state_dict().keys()
    unet.backbone.load_state_dict(classifier.backbone.state_dict())
    assert torch.equal(unet.net.encoder.layer4[1].conv2.weight, classifier.net.layer4[1].conv2.weight)
