"""Every whole-image network behind one contract: statistics, losses and probabilities around any `nn.Module`.

An adapter builds the network and says where its last layer is; the rest follows from that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vision_tasks.errors import UserError
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.decoding import ClassLogits
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.losses import Criterion
from vision_tasks.models.modes import mode
from vision_tasks.models.normalisation import IMAGENET_MEAN, IMAGENET_STD
from vision_tasks.models.widen import RGB, statistics
from vision_tasks.types import Labels

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
AUXILIARY_WEIGHT = 0.3  # Szegedy et al., Going deeper with convolutions, 2015
TOO_SMALL = ("too small", "greater than actual input size")  # what torch says of a canvas that a layer can't take


class Classifier(Exportable[Labels]):
    """A network that gives logits [B,K], learning from hard, several-hot or soft labels.

    Losses: those of `learn_by`, else `cross_entropy`, or `binary_cross_entropy` where `info.exclusive` is False; for
    auxiliary classifiers (GoogLeNet, Inception) also theirs, named `..._aux1`, weighted 0.3.
    Predictions: `Labels` of softmax, or sigmoid, probabilities, float32 [B,K].
    """

    mean: Tensor  # float32 [1,C,1,1]
    std: Tensor
    class_weight: Tensor | None  # float32 [K]

    def __init__(
        self,
        info: ModelInfo,
        net: nn.Module,
        head: str | None,
        *,
        auxiliary: Sequence[str] = (),
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        grey: bool = False,
    ) -> None:
        """`head` is the dotted name of the last layer in `net`, None if there is no single one.

        `auxiliary` are those of other parts that know the classes.

        `mean` and `std` are of RGB, or of one channel for a `grey` network, which gets the luma of RGB images; images
        of neither one nor three channels reach it as they are.
        """
        super().__init__()
        self.info = info
        self.net = net
        self.head = head
        self.heads = (*([] if head is None else [head]), *auxiliary)
        self.luma = grey and info.channels == RGB
        seen = 1 if self.luma else info.channels
        self.register_buffer("mean", torch.tensor(statistics(mean, seen)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(statistics(std, seen)).view(1, -1, 1, 1))
        self.register_buffer("class_weight", None, persistent=False)
        self.temperature = 1.0  # of what is predicted; see `temperature.py`
        self.criterion = Criterion.chosen((), info.exclusive)

    def forward(self, images: Tensor, targets: Labels) -> dict[str, Tensor]:
        """Losses against `targets.weight` [B,K]."""
        losses = {}
        for suffix, logits in _named(self._run(images)):
            weight = AUXILIARY_WEIGHT if suffix else 1.0
            for name, loss in self.criterion.losses(logits.float(), targets.weight, self.class_weight).items():
                losses[name + suffix] = weight * loss
        return losses

    def outputs(self, images: Tensor) -> tuple[Tensor]:
        """Logits [B,K], divided by the temperature."""
        return (self._run(images).float() / self.temperature,)

    @property
    def decoder(self) -> ClassLogits:
        return ClassLogits(self.info.exclusive)

    @property
    def backbone(self) -> nn.Module:
        """The network without what knows the classes, under its own names; it computes what the last layer sees.

        Its tensors are those of `net`. Names of ResNets are torchvision's (conv1, bn1, layer1 ...), which the encoders
        of segmentation networks share.
        """
        net = self.net
        for name in self.heads:
            net = _without(net, name.split("."))
        return net

    @property
    def class_layers(self) -> dict[str, int]:
        heads = [(name, self.net.get_submodule(name)) for name in self.heads]
        parts = [[f"net.{head}.{name}".rstrip(".") for name, part in module.named_modules() if _is_linear(part)]
                 for head, module in heads]  # fmt: skip
        return {names[-1]: 1 for names in parts}

    def learn_by(self, losses: Sequence[str], label_smoothing: float = 0.0, class_weight: Tensor | None = None) -> None:
        self.criterion = Criterion.chosen(losses, self.info.exclusive, label_smoothing)
        self.class_weight = None if class_weight is None else class_weight.to(self.mean)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        with mode(self.modules(), training=False), _inputs_of(self._last_layer()) as seen:
            self._run(images)
        return seen[0].float()

    @torch.no_grad()
    def fit_head(self, features: Tensor, targets: Labels) -> None:
        """Logistic regression on standardised features: a softmax, or one regression a class if not exclusive."""
        # Only here: scikit-learn takes longer to import than a small network to build.
        from vision_tasks.models.linear_probe import fit_exclusive, fit_independent

        head = self._last_layer()
        fit = fit_exclusive if self.info.exclusive else fit_independent
        weight, bias = fit(features.double().cpu().numpy(), targets.weight.cpu().numpy())
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))

    def _last_layer(self) -> nn.Linear:
        layer = None if self.head is None else self.net.get_submodule(self.head)
        if not isinstance(layer, nn.Linear):
            raise UserError(f"the last layer of {self.info.name} can't be fitted alone; leave out --probe")
        return layer

    def _run(self, images: Tensor) -> Any:
        """What the network says of images [B,C,H,W]: logits [B,K], or a named tuple of them and auxiliary ones."""
        seen = _luma(images) if self.luma else images
        try:
            return self.net((seen - self.mean) / self.std)
        except RuntimeError as error:
            if not any(words in str(error) for words in TOO_SMALL):
                raise
            height, width = images.shape[-2:]
            raise UserError(
                f"{self.info.name}: images of {width}x{height} are too small; raise --image-size"
            ) from error


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d)


def _luma(images: Tensor) -> Tensor:
    """RGB [B,3,H,W] as grey [B,1,H,W]."""
    return LUMA[0] * images[:, 0:1] + LUMA[1] * images[:, 1:2] + LUMA[2] * images[:, 2:3]


def _named(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Logits by the suffix of their losses; the fields of torchvision's tuples are logits, aux_logits2 and the like."""
    if isinstance(output, Tensor):
        yield "", output
        return
    for field, logits in output._asdict().items():
        if logits is not None:
            suffix = field.replace("logits", "").strip("_").replace("_", "")
            yield f"_{suffix}" if suffix else "", logits


def _without(module: nn.Module, path: Sequence[str]) -> nn.Module:
    """A twin that shares all parts, except that the one at `path` passes on what it gets."""
    twin = copy.copy(module)
    part = module.get_submodule(path[0])
    twin._modules = module._modules | {path[0]: _without(part, path[1:]) if path[1:] else nn.Identity()}
    return twin


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
