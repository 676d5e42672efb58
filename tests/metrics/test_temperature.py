"""Against torch's own optimiser in float64, and where the answer is known."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vision_tasks.metrics.temperature import fit_temperature


def drawn(images: int, classes: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes that were drawn with the probabilities softmax(logits / temperature)."""
    luck = np.random.default_rng(seed)
    logits = luck.normal(0, 3, (images, classes))
    noise = luck.gumbel(size=logits.shape)  # the largest of logits plus Gumbel noise is a draw from their softmax
    return logits, (logits / temperature + noise).argmax(axis=1)


def by_lbfgs(logits: np.ndarray, label: np.ndarray) -> float:
    """As the paper's code does it: L-BFGS on the likelihood, here over the logarithm of T."""
    given, truth = torch.from_numpy(logits), torch.from_numpy(label)
    log = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log], max_iter=200, tolerance_grad=1e-13, tolerance_change=1e-16,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(given / log.exp(), truth)
        loss.backward()
        return loss

    optimiser.step(closure)
    return log.exp().item()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_equals_lbfgs_on_the_likelihood(temperature: float) -> None:
    logits, label = drawn(500, 6, temperature)
    found = fit_temperature(logits, label)
    assert found == pytest.approx(by_lbfgs(logits, label), rel=1e-6)
    assert found == pytest.approx(fit_temperature(logits + 1e4, label), rel=1e-6)


def test_finds_the_temperature_that_truth_was_drawn_with() -> None:
    logits, label = drawn(40_000, 5, 2.5)
    assert fit_temperature(logits, label) == pytest.approx(2.5, rel=0.03)


def test_two_classes_by_hand() -> None:
    """Of four images with logits 1 and 0, three are right: 1 / (1 + exp(-1/T)) must be 3/4."""
    logits, label = np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert fit_temperature(logits, label) == pytest.approx(1 / np.log(3), rel=1e-12)


def test_where_no_temperature_is_the_best() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) is None  # the colder, the better
    assert fit_temperature(logits, np.array([1, 0])) is None  # the hotter, the better
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 0])) is None


def test_numbers_that_float32_would_lose() -> None:
    logits, label = drawn(300, 4, 1.0)
    assert fit_temperature(logits * 1e4, label) == pytest.approx(1e4 * fit_temperature(logits, label), rel=1e-6)
