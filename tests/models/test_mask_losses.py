"""Losses of masks against torch's, SMP's and the definitions, in float64."""

import itertools

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional as F

from vision_tasks.errors import UserError
from vision_tasks.models.mask_losses import LOSSES, TVERSKY, MaskCriterion
from vision_tasks.types import IGNORE, Masks

WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.7], dtype=torch.float64)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGITS = 2 * draw(0, 2, 4, 5, 7)
INDEX = draw(1, 2, 3, 5, 7).argmax(dim=1)  # of the four classes the last one never occurs
INDEX[0, :2, 1:] = IGNORE
HARD = Masks(INDEX.to(torch.uint8), 4)
COUNTED = INDEX != IGNORE
SOFT = (3 * draw(2, 2, 4, 5, 7)).softmax(dim=1)
BLENDED = Masks(SOFT.argmax(dim=1).masked_fill(~COUNTED, IGNORE).to(torch.uint8), 4, SOFT)


def loss(
    name: str, truth: Masks = HARD, weight: Tensor | None = None, smoothing: float = 0.0, logits: Tensor = LOGITS
) -> Tensor:
    losses = MaskCriterion.chosen([name], smoothing).losses(logits, truth, weight)
    assert losses.keys() == {name}
    assert losses[name].shape == ()
    return losses[name]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_is_torchs(weight: Tensor | None) -> None:
    expected = F.cross_entropy(LOGITS, INDEX, weight=weight, ignore_index=IGNORE)
    torch.testing.assert_close(loss("cross_entropy", weight=weight), expected)


def test_label_smoothing_is_torchs() -> None:
    expected = F.cross_entropy(LOGITS, INDEX, ignore_index=IGNORE, label_smoothing=0.2)
    torch.testing.assert_close(loss("cross_entropy", smoothing=0.2), expected)
    spread = 0.8 * SOFT + 0.2 / 4
    expected = (-(spread * LOGITS.log_softmax(dim=1)).sum(dim=1))[COUNTED].mean()
    torch.testing.assert_close(loss("cross_entropy", BLENDED, smoothing=0.2), expected)


def test_label_smoothing_with_class_weights_is_torchs() -> None:
    expected = F.cross_entropy(LOGITS, INDEX, weight=WEIGHT, ignore_index=IGNORE, label_smoothing=0.2)
    torch.testing.assert_close(loss("cross_entropy", weight=WEIGHT, smoothing=0.2), expected)
    each = F.cross_entropy(LOGITS, SOFT, weight=WEIGHT, label_smoothing=0.2, reduction="none")[COUNTED]
    under = torch.einsum("bkhw,k->bhw", SOFT, WEIGHT)[COUNTED]
    torch.testing.assert_close(loss("cross_entropy", BLENDED, WEIGHT, 0.2), each.sum() / under.sum())


@pytest.mark.parametrize("weight", [None, WEIGHT.tolist()])
@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_losses_of_regions_are_smps(name: str, weight: list[float] | None) -> None:
    options = {"mode": "multiclass", "ignore_index": IGNORE, "class_weights": weight}
    alpha, beta = TVERSKY
    theirs = {
        "dice": lambda: smp.losses.DiceLoss(**options),
        "jaccard": lambda: smp.losses.JaccardLoss(**options),
        "tversky": lambda: smp.losses.TverskyLoss(**options, alpha=alpha, beta=beta),
    }
    expected = theirs[name]()(LOGITS, INDEX)
    torch.testing.assert_close(loss(name, weight=None if weight is None else WEIGHT), expected, atol=1e-6, rtol=1e-6)


def test_lovasz_is_smps() -> None:
    """In float32: theirs takes nothing else."""
    expected = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)(LOGITS.float(), INDEX)
    torch.testing.assert_close(loss("lovasz", logits=LOGITS.float()), expected)


def test_lovasz_from_its_definition() -> None:
    """The extension of a function of sets: errors, falling, times what each pixel adds to the loss of Jaccard."""
    probability = LOGITS.softmax(dim=1).movedim(1, -1)[COUNTED]  # [P,K]
    truth = INDEX[COUNTED]
    each = []
    for label in (0, 1, 2):
        inside = truth == label
        errors = [abs(float(yes) - float(p)) for yes, p in zip(inside, probability[:, label], strict=True)]
        order = sorted(range(len(errors)), key=lambda i: -errors[i])
        total, before = 0.0, 0.0
        for count, pixel in enumerate(order, 1):
            after = jaccard_loss(inside, set(order[:count]))
            total += errors[pixel] * (after - before)
            before = after
        each.append(total)
    torch.testing.assert_close(float(loss("lovasz")), sum(each) / 3)
    weighted = sum(float(w) * value for w, value in zip(WEIGHT, each, strict=False)) / float(WEIGHT[:3].sum())
    torch.testing.assert_close(float(loss("lovasz", weight=WEIGHT)), weighted)


def test_lovasz_gives_each_of_many_pixels_its_gradient() -> None:
    """What one of them adds to the loss is little more than what float32 tells from 1.

    All of the second class are worse than the others, so that they alone count, and equally: its loss is their mean.
    """
    half = 100_000  # no power of two, of which fractions are exact
    inside = (torch.arange(2 * half) < half).view(1, 400, 500)
    ranked = torch.cat([torch.linspace(-1, -0.5, half), torch.linspace(-0.4, -0.1, half)]).view(1, 1, 400, 500)
    found = torch.cat([-ranked, ranked], dim=1).requires_grad_()
    exact = found.detach().double().requires_grad_()
    loss("lovasz", Masks(inside.to(torch.uint8), 2), torch.tensor([0.0, 1.0]), logits=found).backward()
    (1 - exact.softmax(dim=1)[:, 1][inside]).mean().backward()
    torch.testing.assert_close(found.grad, exact.grad, rtol=1e-4, atol=1e-12, check_dtype=False)


def test_a_class_without_a_weight_has_no_say() -> None:
    """As one that the training data lacks: the last class here."""
    weight = torch.tensor([1.0, 1, 1, 0], dtype=torch.float64)
    for name in ("dice", "jaccard", "tversky", "lovasz"):
        factor = 1.0 if name == "lovasz" else 4 / 3  # the mean over the three that the truth has
        torch.testing.assert_close(loss(name, weight=weight), loss(name) * factor)
    torch.testing.assert_close(loss("cross_entropy", weight=weight), loss("cross_entropy"))


def jaccard_loss(inside: Tensor, wrong: set[int]) -> float:
    """1 - IoU of a mask that differs from the truth exactly in these pixels."""
    truth = {i for i, yes in enumerate(inside.tolist()) if yes}
    return 1 - len(truth - wrong) / len(truth | wrong)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("truth", [HARD, BLENDED])
def test_focal_from_its_definition(truth: Masks, weight: Tensor | None) -> None:
    probability, target = LOGITS.softmax(dim=1), truth.dense()
    total = weights = 0.0
    for image, row, column in itertools.product(*map(range, INDEX.shape)):
        if truth.index[image, row, column] == IGNORE:
            continue
        p, t = probability[image, :, row, column], target[image, :, row, column].double()
        own = 1.0 if weight is None else float(t @ weight)
        each = torch.ones_like(t) if weight is None else weight
        total += float(-(t * each * (1 - p) ** 2 * p.log()).sum())
        weights += own
    torch.testing.assert_close(float(loss("focal", truth, weight)), total / weights)


def test_soft_cross_entropy_from_its_definition() -> None:
    each = -SOFT * LOGITS.log_softmax(dim=1)
    torch.testing.assert_close(loss("cross_entropy", BLENDED), each.sum(dim=1)[COUNTED].mean())
    weighted, under = ((values * WEIGHT[:, None, None]).sum(dim=1)[COUNTED] for values in (each, SOFT))
    torch.testing.assert_close(loss("cross_entropy", BLENDED, WEIGHT), weighted.sum() / under.sum())


def test_by_hand() -> None:
    """Three pixels of classes 1, 1 and 0, the fourth ignored; class 1 has the probabilities 0.8, 0.4 and 0.3."""
    second = torch.tensor([0.8, 0.4, 0.3, 0.9], dtype=torch.float64).view(1, 1, 2, 2)
    logits = torch.cat([1 - second, second], dim=1).log()
    truth = Masks(torch.tensor([[[1, 1], [0, IGNORE]]], dtype=torch.uint8), 2)
    # Class 1: shared 1.2, predicted 1.5, true 2; class 0: shared 0.7, predicted 1.5, true 1.
    expected = {
        "dice": 1 - (2.4 / 3.5 + 1.4 / 2.5) / 2,
        "jaccard": 1 - (1.2 / 2.3 + 0.7 / 1.8) / 2,
        "tversky": 1 - (1.2 / (1.2 + 0.3 * 0.3 + 0.7 * 0.8) + 0.7 / (0.7 + 0.3 * 0.8 + 0.7 * 0.3)) / 2,
        # Errors of class 1, falling: 0.6 (true), 0.3 (not), 0.2 (true); IoU falls to 1/2, 1/3, 0.
        # Of class 0: 0.6 (not), 0.3 (true), 0.2 (not): IoU falls to 1/2, 0, 0.
        "lovasz": ((0.6 / 2 + 0.3 / 6 + 0.2 / 3) + (0.6 / 2 + 0.3 / 2)) / 2,
    }
    for name, value in expected.items():
        torch.testing.assert_close(float(loss(name, truth, logits=logits)), value)


@pytest.mark.parametrize("name", LOSSES)
def test_one_hot_probabilities_mean_their_index(name: str) -> None:
    """What lies under ignored pixels says nothing."""
    dense = HARD.dense().double() + (~COUNTED)[:, None] * 0.3
    for weight in (None, WEIGHT):
        soft = loss(name, Masks(HARD.index, 4, dense), weight)
        torch.testing.assert_close(soft, loss(name, weight=weight), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_soft_truth_that_is_met_costs_nothing(name: str) -> None:
    torch.testing.assert_close(float(loss(name, BLENDED, logits=SOFT.log())), 0.0, atol=1e-6, rtol=0)
    assert loss(name, BLENDED, logits=SOFT.log() * 1.5) > 0.01


@pytest.mark.parametrize("truth", [HARD, BLENDED])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str, truth: Masks) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss(name, truth, WEIGHT, logits=logits).backward()
    assert logits.grad is not None
    assert logits.grad.movedim(1, -1)[COUNTED].isfinite().all()
    assert logits.grad.movedim(1, -1)[COUNTED].any(dim=0).all()
    assert not logits.grad.movedim(1, -1)[~COUNTED].any()


@pytest.mark.parametrize("weight", [None, WEIGHT.float()])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_nothing_to_learn(name: str, soft: bool, weight: Tensor | None) -> None:
    nothing = HARD.blank((5, 7))
    truth = nothing.blend(Masks(INDEX.clamp(max=3).to(torch.uint8), 4), torch.full((2,), 0.5)) if soft else nothing
    logits = LOGITS.float().requires_grad_()
    value = loss(name, truth, weight, logits=logits)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_certain_network_stays_finite(name: str) -> None:
    right = torch.full((2, 4, 5, 7), -1e4).scatter(1, INDEX.masked_fill(~COUNTED, 0)[:, None], 1e4)
    assert abs(float(loss(name, logits=right))) < 1e-6
    wrong = right.neg().requires_grad_()
    value = loss(name, logits=wrong)
    value.backward()
    assert value > 0.5
    assert wrong.grad is not None
    assert wrong.grad.isfinite().all()


def test_sums_and_wrong_names() -> None:
    together = MaskCriterion.chosen(["cross_entropy", "lovasz", "cross_entropy"]).losses(LOGITS, HARD)
    assert list(together) == ["cross_entropy", "lovasz"]
    assert together["lovasz"] == loss("lovasz")
    with pytest.raises(UserError, match="unknown loss 'jacard'; did you mean jaccard"):
        MaskCriterion.chosen(["jacard"])
    with pytest.raises(UserError, match="label_smoothing is of cross_entropy and focal; add one of them to loss"):
        MaskCriterion.chosen(["dice"], 0.1)
