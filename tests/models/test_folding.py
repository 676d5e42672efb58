"""Folded networks give what they gave; what may not be folded stays."""

import torch
from torch import Tensor, nn

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier
from vision_tasks.models.folding import folded
from vision_tasks.models.registry import create_model


def awakened(model: nn.Module) -> nn.Module:
    luck = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                assert tensor is not None
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=luck))
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())


@torch.no_grad()
def test_a_resnet_is_the_same_without_its_norms() -> None:
    torch.manual_seed(0)
    model = awakened(create_model("cifar_resnet20", ("a", "b")))
    images = torch.rand(2, 3, 32, 32)
    twin = folded(model, images[:1])
    assert norms(model) > 15
    assert norms(twin) == 0
    torch.testing.assert_close(twin.outputs(images), model.outputs(images), rtol=1e-4, atol=1e-4)


class Shared(nn.Module):
    """A convolution that something else than its norm looks at, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.seen_norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.other_norm = nn.BatchNorm2d(3)
        self.twice, self.twice_norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.seen(images)
        both = self.seen_norm(maps) + self.other_norm(maps)
        return (self.twice_norm(self.twice(self.twice(both)))).mean(dim=(2, 3))


@torch.no_grad()
def test_what_others_look_at_is_not_folded() -> None:
    torch.manual_seed(0)
    model = Classifier(ModelInfo("net", "family", ("a", "b", "c"), 1, ""), Shared(), None)
    awakened(model)
    images = torch.rand(2, 3, 8, 8)
    twin = folded(model, images)
    assert norms(twin) == 3
    torch.testing.assert_close(twin.outputs(images), model.outputs(images))
