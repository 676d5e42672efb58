"""Bins by hand, against scikit-learn's calibration curve, and with the calibration error of torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from vision_tasks.metrics.reliability import ReliabilityMetric, table
from vision_tasks.types import Labels


def test_by_hand() -> None:
    found = table(np.array([0.05, 0.9, 0.95, 1.0, 2 / 15]), np.array([0.0, 1, 0, 1, 1]))
    assert found["images"].tolist() == [1, 1, *[0] * 11, 1, 2]
    assert found["confidence"][[0, 1, 13, 14]].tolist() == pytest.approx([0.05, 2 / 15, 0.9, 0.975])
    assert found["accuracy"][[0, 1, 13, 14]].tolist() == [0, 1, 1, 0.5]
    assert np.isnan(found["accuracy"][2:13]).all()


def test_equals_scikit_learn_and_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = (2 * torch.randn(400, 5, generator=generator)).softmax(dim=1)
    label = torch.randint(0, 5, (400,), generator=generator)
    metric = ReliabilityMetric([f"c{i}" for i in range(5)])
    for row, one in zip(probability, label.tolist(), strict=True):
        metric.update(Labels(row[None]), Labels.one_hot(one, 5), "1.jpg")
    scores = metric.compute(intervals=False)
    found = {name: np.array(values) for name, values in scores["reliability"].items()}
    confidence, predicted = probability.max(dim=1)
    accuracy, mean = calibration_curve(predicted == label, confidence, n_bins=15)
    some = found["images"] > 0
    np.testing.assert_allclose(found["accuracy"][some], accuracy, atol=1e-6)
    np.testing.assert_allclose(found["confidence"][some], mean, atol=1e-6)
    gaps = found["images"][some] * np.abs(found["accuracy"] - found["confidence"])[some]
    expected = multiclass_calibration_error(probability, label, 5, n_bins=15, norm="l1").item()
    assert gaps.sum() / 400 == pytest.approx(expected, abs=1e-6)
    assert gaps.sum() / 400 == pytest.approx(scores["ece"], abs=1e-12)
