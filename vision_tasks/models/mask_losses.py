"""Losses of semantic segmentation, by the names that a user gives.

All read logits float32 [B,K,H,W] by softmax, and take truth as `Masks`. What that ignores counts nowhere; where it
ignores everything, a loss is zero, and so are its gradients.

Losses of pixels are means over pixels: `cross_entropy`, and `focal` (Lin et al. 2017). Losses of regions compare areas
of each class in the whole batch, in its truth and its probabilities, and are means over classes, to which a class
that the truth lacks gives zero: `dice` (Milletari et al. 2016), `jaccard` (Rahman and Wang 2016), `tversky` (Salehi et
al. 2017). `lovasz` (Berman et al. 2018) is the mean over the classes that the truth has.

Truth that blending made soft is taken as it is, except by `lovasz`, which ranks pixels by their errors and needs each
to have one class: its likeliest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.losses import FOCAL_GAMMA, weighted_mean
from vision_tasks.types import IGNORE, Masks

# The weights of false positives and false negatives that Salehi et al. found best for small objects; with 1/2 and 1/2
# the loss would be that of Dice.
TVERSKY = (0.3, 0.7)
LEAST_AREA = 1e-7  # pixels; where neither truth nor prediction has any

Cost = Callable[[Tensor], Tensor]  # of classes, from their log-probabilities, each for itself


@dataclass(frozen=True)
class MaskCriterion:
    """Which losses a network for masks minimises.

    Label smoothing mixes the truth of the losses of pixels with the uniform distribution. With class weights what a
    class of that mixture costs counts as much as the class does, and the sum is divided by the weights of the truth
    before smoothing: `CrossEntropyLoss(weight, label_smoothing=...)` of torch. Means over classes are weighted, too.
    """

    names: tuple[str, ...]
    label_smoothing: float = 0.0

    @classmethod
    def chosen(cls, names: Sequence[str], label_smoothing: float = 0.0) -> MaskCriterion:
        """The losses by these names. Raises UserError for unknown ones, and for smoothing that nothing would use."""
        for name in names:
            if name not in LOSSES:
                raise unknown_name("loss", name, LOSSES)
        if label_smoothing and not set(names) & PIXEL_COSTS.keys():
            raise UserError(f"label_smoothing is of {' and '.join(PIXEL_COSTS)}; add one of them to loss")
        return cls(tuple(dict.fromkeys(names)), label_smoothing)

    def losses(self, logits: Tensor, targets: Masks, class_weight: Tensor | None = None) -> dict[str, Tensor]:
        """Named scalars from logits float32 [B,K,H,W], truth for them, and class weights [K]."""
        weight = logits.new_ones(logits.shape[1]) if class_weight is None else class_weight
        view = _View.of(logits, targets, weight, self.label_smoothing)
        return {name: LOSSES[name](view) for name in self.names}


@dataclass(frozen=True)
class _View:
    """What the losses of a batch look at."""

    log_probability: Tensor  # [B,K,H,W]
    counted: Tensor  # bool [B,1,H,W]
    index: Tensor  # int64 [B,1,H,W], 0 where ignored
    soft: Tensor | None  # truth [B,K,H,W], 0 where ignored; None = hard
    weight: Tensor  # of classes, [K]
    smoothing: float

    @classmethod
    def of(cls, logits: Tensor, targets: Masks, weight: Tensor, smoothing: float) -> _View:
        counted = (targets.index != IGNORE)[:, None]
        index = targets.index.long()[:, None].masked_fill(~counted, 0)
        soft = None if targets.probability is None else targets.probability * counted
        return cls(logits.log_softmax(dim=1), counted, index, soft, weight, smoothing)

    @cached_property
    def probability(self) -> Tensor:
        """[B,K,H,W]"""
        return self.log_probability.exp()

    def pixel_weight(self) -> Tensor:
        """How much each pixel counts, [B,1,H,W]: the mean weight under its truth."""
        if self.soft is None:
            return self.weight[self.index] * self.counted
        return (self.weight[:, None, None] * self.soft).sum(dim=1, keepdim=True)

    def weighted_costs(self, cost: Cost) -> Tensor:
        """The mean of `cost` times weight under the truth of each pixel, smoothed, [B,1,H,W]."""
        if self.soft is None and not self.smoothing:  # hardly any memory: of each pixel one class is looked at
            return cost(self.log_probability.gather(1, self.index)) * self.pixel_weight()
        costs = cost(self.log_probability) * self.weight[:, None, None]
        true = costs.gather(1, self.index) if self.soft is None else (costs * self.soft).sum(dim=1, keepdim=True)
        return torch.lerp(true, costs.mean(dim=1, keepdim=True), self.smoothing) * self.counted

    def areas(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each class [K]: what truth and prediction share, the prediction, the truth; in pixels."""
        predicted = (self.probability * self.counted).sum(dim=(0, 2, 3))
        if self.soft is not None:
            shared = torch.minimum(self.probability, self.soft).sum(dim=(0, 2, 3))
            return shared, predicted, self.soft.sum(dim=(0, 2, 3))
        # In float64, since pixel after pixel is added: from 2^24 on a float32 doesn't feel another one.
        index, none = self.index.flatten(), torch.zeros_like(predicted, dtype=torch.float64)
        right = self.probability.gather(1, self.index) * self.counted
        shared = none.index_add(0, index, right.flatten().double())
        true = none.index_add(0, index, self.counted.flatten().double())
        return shared.to(predicted), predicted, true.to(predicted)


MaskLoss = Callable[[_View], Tensor]


def _of_pixels(cost: Cost) -> MaskLoss:
    """The mean over pixels of what their class costs."""

    def loss(view: _View) -> Tensor:
        return weighted_mean(view.weighted_costs(cost), view.pixel_weight())

    return loss


def _cross_entropy(log_probability: Tensor) -> Tensor:
    return -log_probability


def _focal(log_probability: Tensor) -> Tensor:
    return -((1 - log_probability.exp()) ** FOCAL_GAMMA) * log_probability


def _of_regions(false_positives: float, false_negatives: float) -> MaskLoss:
    """1 - Tversky's index with these weights: Dice's with 1/2 and 1/2, Jaccard's with 1 and 1."""

    def loss(view: _View) -> Tensor:
        shared, predicted, true = view.areas()
        wrong = false_positives * (predicted - shared) + false_negatives * (true - shared)
        values = (1 - shared / (shared + wrong).clamp(min=LEAST_AREA)) * (true > 0)
        return weighted_mean(values * view.weight, view.weight)

    return loss


def _lovasz(view: _View) -> Tensor:
    """The mean over the classes that the truth has, over the pixels of the batch."""
    counted = view.counted[:, 0]
    truth = view.index[:, 0][counted]  # [P]
    present = truth.bincount().nonzero()[:, 0]
    inside = truth == present[:, None]  # [k,P]
    errors = (inside.to(view.probability) - view.probability.movedim(1, 0)[present][:, counted]).abs()
    steps = torch.empty_like(errors)
    for row, step in enumerate(map(_jaccard_steps, errors.detach(), inside)):
        steps[row] = step
    weight = view.weight[present]
    return weighted_mean((errors * steps).sum(dim=1) * weight, weight)


def _jaccard_steps(errors: Tensor, inside: Tensor) -> Tensor:
    """Algorithm 1 of the paper for one class, [P]: by how much each pixel, the worst first, raises the Jaccard loss.

    They are constants of the gradient: the extension is linear wherever the order of the errors stays the same.
    """
    order = errors.argsort(descending=True)
    right = inside[order]
    area = right.sum()
    shared = area - right.cumsum(0, dtype=torch.int32)
    union = area + (~right).cumsum(0, dtype=torch.int32)
    loss = 1 - shared.double() / union  # of millions of pixels each is less than a float32 tells
    steps = torch.diff(loss, prepend=loss.new_zeros(1)).to(errors)
    return torch.empty_like(errors).scatter_(0, order, steps)


PIXEL_COSTS = {"cross_entropy": _cross_entropy, "focal": _focal}
LOSSES: dict[str, MaskLoss] = {
    **{name: _of_pixels(cost) for name, cost in PIXEL_COSTS.items()},
    "dice": _of_regions(0.5, 0.5),
    "jaccard": _of_regions(1.0, 1.0),
    "tversky": _of_regions(*TVERSKY),
    "lovasz": _lovasz,
}
