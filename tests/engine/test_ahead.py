"""Predictions come in the order of their batches, one batch ahead of who asks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vision_tasks.engine.ahead import predicted_ahead
from vision_tasks.types import Batch, Failure, ImageInfo, Labels

INFO = ImageInfo("a", Path("a"), (2, 2), np.eye(3))


def batch(value: float) -> Batch[Labels]:
    return Batch(torch.full((1, 3, 2, 2), float(value)), None, (), (INFO,))


def model(images: torch.Tensor) -> Labels:
    value = float(images.mean())
    if value < 0:
        raise RuntimeError("below zero")
    return Labels(torch.tensor([[value]]))


def values(batches: Any) -> list[float | None]:
    found = predicted_ahead(model, batches)  # type: ignore[arg-type]
    return [None if labels is None else float(labels.weight) for _, labels in found]


def test_each_batch_gets_its_own() -> None:
    failed: Batch[Labels] = Batch(torch.zeros(0, 3, 2, 2), None, (), (), (Failure("b", Path("b"), "broken"),))
    assert values([batch(1), failed, batch(3), batch(4)]) == [1, None, 3, 4]
    assert values([]) == []


def test_an_error_comes_after_what_was_before_it() -> None:
    found = predicted_ahead(model, [batch(1), batch(2), batch(-1), batch(4)])  # type: ignore[arg-type]
    for value in (1, 2):
        _, labels = next(found)
        assert labels is not None
        assert float(labels.weight) == value
    with pytest.raises(RuntimeError, match="below zero"):
        next(found)


def test_no_more_than_two_are_taken_before_the_first_is_done() -> None:
    taken = []

    def batches() -> Any:
        for value in range(5):
            taken.append(value)
            yield batch(value)

    found = predicted_ahead(model, batches())  # type: ignore[arg-type]
    next(found)
    assert taken == [0, 1]
    found.close()
