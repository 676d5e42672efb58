"""What tests of augmentation share."""

from collections.abc import Callable

import numpy as np
import pytest

from vision_tasks.augment import plan


@pytest.fixture
def choose(monkeypatch) -> Callable[[dict[str, list[float]]], None]:
    """Replaces luck: every sample gets the given draws of each purpose, and 0.5 of all others."""

    def chosen(draws: dict[str, list[float]]) -> None:
        def uniform(seed, purpose, epoch, keys, count):
            assert (seed, epoch) == (0, 0)
            row = draws.get(purpose, [0.5] * count)
            assert len(row) == count
            return np.tile(row, (len(keys), 1))

        monkeypatch.setattr(plan.luck, "uniform", uniform)

    return chosen
