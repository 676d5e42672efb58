"""Losses of whole-image classification, by the names that a user gives.

A model whose classes exclude one another reads its logits by softmax, one whose images may show several classes by
sigmoid. So there are two tables: a loss of `EXCLUSIVE` gives a value an image [B], one of `INDEPENDENT` a value an
image and class [B,K]. All take logits float32 [B,K] and truth float32 [B,K] in [0,1], hard or soft.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vision_tasks.errors import UserError, unknown_name

Loss = Callable[[Tensor, Tensor], Tensor]

FOCAL_GAMMA = 2.0  # Lin et al., Focal Loss for Dense Object Detection, 2017


@dataclass(frozen=True)
class Criterion:
    """Which losses a classifier minimises, and how it reads the truth for them.

    Label smoothing mixes the truth with the uniform distribution, or, where classes are independent, with 1/2.
    With class weights an image counts as much as its classes do (`CrossEntropyLoss(weight=...)` of torch for hard
    labels; for soft ones the mean weight under the truth). That is so with label smoothing, too, where torch weights
    each class that the truth was mixed with. An independent class counts with its own weight.
    """

    names: tuple[str, ...]
    exclusive: bool
    label_smoothing: float = 0.0

    @classmethod
    def chosen(cls, names: Sequence[str], exclusive: bool, label_smoothing: float = 0.0) -> Criterion:
        """The losses by these names; none = cross-entropy, or binary cross-entropy for independent classes.

        Raises UserError for unknown names, and for losses that would train another reading of the logits.
        """
        own = "cross_entropy" if exclusive else "binary_cross_entropy"
        table = EXCLUSIVE if exclusive else INDEPENDENT
        for name in names:
            if name not in LOSSES:
                raise unknown_name("loss", name, LOSSES)
            if name not in table:
                raise UserError(
                    f"loss '{name}' makes classes exclude one another, but images here may have several; "
                    f"use {own} or focal"
                )
        return cls(tuple(dict.fromkeys(names)) or (own,), exclusive, label_smoothing)

    def losses(self, logits: Tensor, truth: Tensor, class_weight: Tensor | None = None) -> dict[str, Tensor]:
        """Named scalars from logits float32 [B,K], truth float32 [B,K] and class weights [K]."""
        table = EXCLUSIVE if self.exclusive else INDEPENDENT
        smooth = self._smooth(truth)
        if class_weight is None:
            return {name: table[name](logits, smooth).mean() for name in self.names}
        weight = (truth * class_weight).sum(dim=1) if self.exclusive else _independent(class_weight).expand_as(truth)
        return {name: weighted_mean(table[name](logits, smooth) * weight, weight) for name in self.names}

    def _smooth(self, truth: Tensor) -> Tensor:
        even = 1 / truth.shape[1] if self.exclusive else 0.5
        return truth + self.label_smoothing * (even - truth)


def weighted_mean(weighted: Tensor, weight: Tensor) -> Tensor:
    """The mean of values that were multiplied with their weights; zero where nothing has a weight."""
    return weighted.sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def _independent(class_weight: Tensor) -> Tensor:
    """A class that never occurs has the weight 0; here it is still to be learned that no image shows it."""
    return torch.where(class_weight > 0, class_weight, 1.0)


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return -(truth * logits.log_softmax(dim=1)).sum(dim=1)


def _softmax_focal(logits: Tensor, truth: Tensor) -> Tensor:
    log_probability = logits.log_softmax(dim=1)
    return -(truth * (1 - log_probability.exp()) ** FOCAL_GAMMA * log_probability).sum(dim=1)


def _softmax_divergence(logits: Tensor, truth: Tensor) -> Tensor:
    return (torch.xlogy(truth, truth) - truth * logits.log_softmax(dim=1)).sum(dim=1)


def _softmax_squared_error(logits: Tensor, truth: Tensor) -> Tensor:
    return ((logits.softmax(dim=1) - truth) ** 2).mean(dim=1)


def _softmax_absolute_error(logits: Tensor, truth: Tensor) -> Tensor:
    return (logits.softmax(dim=1) - truth).abs().mean(dim=1)


def _one_against_rest(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy for exclusive classes, as in Wightman et al., ResNet strikes back, 2021.

    The best class is learned well; softmax of such logits ranks classes but is no calibrated probability.
    """
    return _binary_cross_entropy(logits, truth).mean(dim=1)


def _binary_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none")


def _sigmoid_focal(logits: Tensor, truth: Tensor) -> Tensor:
    probability = logits.sigmoid()
    missed = probability + truth - 2 * probability * truth  # 1 - p of what is true
    return missed**FOCAL_GAMMA * _binary_cross_entropy(logits, truth)


def _sigmoid_divergence(logits: Tensor, truth: Tensor) -> Tensor:
    negative_entropy = torch.xlogy(truth, truth) + torch.xlogy(1 - truth, 1 - truth)
    return _binary_cross_entropy(logits, truth) + negative_entropy


def _sigmoid_squared_error(logits: Tensor, truth: Tensor) -> Tensor:
    return (logits.sigmoid() - truth) ** 2


def _sigmoid_absolute_error(logits: Tensor, truth: Tensor) -> Tensor:
    return (logits.sigmoid() - truth).abs()


EXCLUSIVE: dict[str, Loss] = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _one_against_rest,
    "focal": _softmax_focal,
    "kl_divergence": _softmax_divergence,
    "mse": _softmax_squared_error,
    "mae": _softmax_absolute_error,
}
INDEPENDENT: dict[str, Loss] = {
    "binary_cross_entropy": _binary_cross_entropy,
    "focal": _sigmoid_focal,
    "kl_divergence": _sigmoid_divergence,
    "mse": _sigmoid_squared_error,
    "mae": _sigmoid_absolute_error,
}
LOSSES = tuple(EXCLUSIVE)  # every name there is
