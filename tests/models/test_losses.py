"""Losses against torch's and torchvision's own, in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from vision_tasks.errors import UserError
from vision_tasks.models.losses import EXCLUSIVE, INDEPENDENT, LOSSES, Criterion

HARD = torch.tensor([2, 0, 3, 3, 1, 0])
ONE_HOT = F.one_hot(HARD, 4).double()
WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.7], dtype=torch.float64)


def draw(seed: int) -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


LOGITS = draw(0)
SOFT = draw(1).softmax(dim=1)
SEVERAL = (draw(2) > 0).double()  # hard, several classes or none
SOFT_SEVERAL = draw(3).sigmoid()


def loss(
    name: str, truth: Tensor, exclusive: bool = True, smoothing: float = 0.0, weight: Tensor | None = None
) -> Tensor:
    losses = Criterion.chosen([name], exclusive, smoothing).losses(LOGITS, truth, weight)
    assert losses.keys() == {name}
    assert losses[name].shape == ()
    return losses[name]


@pytest.mark.parametrize("truth", [ONE_HOT, SOFT])
def test_exclusive_losses(truth: Tensor) -> None:
    log_probability = LOGITS.log_softmax(dim=1)
    expected = {
        "cross_entropy": F.cross_entropy(LOGITS, truth),
        "binary_cross_entropy": F.binary_cross_entropy_with_logits(LOGITS, truth),
        "kl_divergence": F.kl_div(log_probability, truth, reduction="batchmean"),
        "mse": F.mse_loss(LOGITS.softmax(dim=1), truth),
        "mae": F.l1_loss(LOGITS.softmax(dim=1), truth),
    }
    assert expected.keys() | {"focal"} == set(LOSSES)
    for name, value in expected.items():
        torch.testing.assert_close(loss(name, truth), value)


@pytest.mark.parametrize("truth", [SEVERAL, SOFT_SEVERAL])
def test_independent_losses(truth: Tensor) -> None:
    probability = LOGITS.sigmoid()
    divergence = [  # of two outcomes, each with its probability
        F.kl_div(torch.stack([p, 1 - p]).log(), torch.stack([t, 1 - t]), reduction="sum")
        for p, t in zip(probability.flatten(), truth.flatten(), strict=True)
    ]
    expected = {
        "binary_cross_entropy": F.binary_cross_entropy_with_logits(LOGITS, truth),
        "focal": sigmoid_focal_loss(LOGITS, truth, alpha=-1, gamma=2, reduction="mean"),
        "kl_divergence": torch.stack(divergence).mean(),
        "mse": F.mse_loss(probability, truth),
        "mae": F.l1_loss(probability, truth),
    }
    assert expected.keys() == INDEPENDENT.keys()
    for name, value in expected.items():
        torch.testing.assert_close(loss(name, truth, exclusive=False), value)


def test_focal_by_hand() -> None:
    right = LOGITS.softmax(dim=1)[torch.arange(6), HARD]
    torch.testing.assert_close(loss("focal", ONE_HOT), -((1 - right) ** 2 * right.log()).mean())
    # Of two classes softmax is the sigmoid of the difference, so both forms must agree.
    two, truth = LOGITS[:, :2], ONE_HOT[:, :2] + ONE_HOT[:, 2:]
    softmax = Criterion.chosen(["focal"], True).losses(two, truth)["focal"]
    difference = two[:, 1:] - two[:, :1]
    torch.testing.assert_close(softmax, sigmoid_focal_loss(difference, truth[:, 1:], -1, 2, "mean"))


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing(smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, HARD, label_smoothing=smoothing)
    torch.testing.assert_close(loss("cross_entropy", ONE_HOT, smoothing=smoothing), expected)
    expected = F.cross_entropy(LOGITS, SOFT, label_smoothing=smoothing)
    torch.testing.assert_close(loss("cross_entropy", SOFT, smoothing=smoothing), expected)
    towards_half = SEVERAL * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy_with_logits(LOGITS, towards_half)
    torch.testing.assert_close(loss("binary_cross_entropy", SEVERAL, False, smoothing), expected)


def test_class_weights_of_hard_labels_are_those_of_torch() -> None:
    torch.testing.assert_close(
        loss("cross_entropy", ONE_HOT, weight=WEIGHT), torch.nn.CrossEntropyLoss(weight=WEIGHT)(LOGITS, HARD)
    )


@pytest.mark.parametrize("name", EXCLUSIVE)
def test_class_weights_of_soft_labels(name: str) -> None:
    total, count = 0.0, 0.0
    for i in range(6):
        counts = float((SOFT[i] * WEIGHT).sum())
        total += counts * float(EXCLUSIVE[name](LOGITS[i : i + 1], SOFT[i : i + 1]))
        count += counts
    assert float(loss(name, SOFT, weight=WEIGHT)) == pytest.approx(total / count, rel=1e-12)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_class_weights_of_independent_classes(name: str) -> None:
    single = torch.stack([INDEPENDENT[name](LOGITS[:, k], SEVERAL[:, k]).mean() for k in range(4)])
    torch.testing.assert_close(loss(name, SEVERAL, False, weight=WEIGHT), (single * WEIGHT).sum() / WEIGHT.sum())


@pytest.mark.parametrize("name", INDEPENDENT)
def test_an_independent_class_that_never_occurs_is_learned_to_be_absent(name: str) -> None:
    truth, weight = SEVERAL.clone(), WEIGHT.clone()
    truth[:, 3], weight[3] = 0, 0
    logits = LOGITS.clone().requires_grad_()
    Criterion.chosen([name], exclusive=False).losses(logits, truth, weight)[name].backward()
    assert logits.grad is not None
    assert (logits.grad[:, 3] > 0).all()


@pytest.mark.parametrize("exclusive", [True, False])
def test_equal_weights_change_nothing(exclusive: bool) -> None:
    for name in EXCLUSIVE if exclusive else INDEPENDENT:
        for factor in (1.0, 5.0):
            weight = torch.full((4,), factor, dtype=torch.float64)
            torch.testing.assert_close(loss(name, ONE_HOT, exclusive, weight=weight), loss(name, ONE_HOT, exclusive))


@pytest.mark.parametrize("exclusive", [True, False])
def test_extreme_logits_and_empty_truth_stay_finite(exclusive: bool) -> None:
    for name in EXCLUSIVE if exclusive else INDEPENDENT:
        for truth in (torch.tensor([[1.0, 0], [0, 1]]), torch.zeros(2, 2)):
            for weight in (None, torch.ones(2)):
                logits = torch.tensor([[200.0, -200], [200, -200]], requires_grad=True)
                value = Criterion.chosen([name], exclusive).losses(logits, truth, weight)[name]
                value.backward()
                assert value.isfinite()
                assert logits.grad is not None
                assert logits.grad.isfinite().all()


def test_choice() -> None:
    assert Criterion.chosen([], True).names == ("cross_entropy",)
    assert Criterion.chosen([], False).names == ("binary_cross_entropy",)
    both = Criterion.chosen(["focal", "mae", "focal"], True).losses(LOGITS, SOFT)
    assert list(both) == ["focal", "mae"]
    with pytest.raises(UserError, match="unknown loss 'cross_entopy'; did you mean cross_entropy"):
        Criterion.chosen(["cross_entopy"], False)
    with pytest.raises(
        UserError, match=r"loss 'cross_entropy' makes classes exclude .*; use binary_cross_entropy or f"
    ):
        Criterion.chosen(["focal", "cross_entropy"], False)
