"""The contract of a metric: fed image by image in original pixels, asked once at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.bootstrap import Scores
from vision_tasks.types import Targets

T_contra = TypeVar("T_contra", bound=Targets, contravariant=True)


class Metric(Protocol[T_contra]):
    """Accumulates predictions against truth; holds no images, and no more of predictions than its docstring says."""

    def update(self, prediction: T_contra, truth: T_contra, image: str) -> None:
        """Count the image called `image`: both B = 1, both in the original's pixels.

        `truth` is on the CPU; so is `prediction`, unless the metric is one that counts where predictions are.
        """

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """Scores by name in [0, 1] (nan where undefined), `images`, and `per_class` {class: {score: value}}.

        With `intervals`, where the metric has them, also `<score>_ci`: [low, high], see `metrics/bootstrap.py`. Without
        them it is faster, for scores that nobody reads but a training.
        """

    def evidence(self) -> Evidence:
        """What was counted of each image so far."""


class Evidence(Protocol):
    """What a metric keeps of n images: enough for its scores on any resample of them, without model or image.

    Models that were scored on the same images are compared by it, see `pairing.py`; `evidence.py` stores it.
    """

    @property
    def images(self) -> tuple[str, ...]:
        """Their names [n]."""

    def scores(self, draws: NDArray[Any], quick: bool = False) -> Scores:
        """Each score [R] when an image counts as often as `draws` [R,n] says; `quick`: without those that take long."""

    def alone(self) -> NDArray[np.float64]:
        """How well each image alone is predicted [n], 1 is best; nan where that can't be said."""

    def support(self) -> NDArray[np.int64]:
        """How many of the images show each class, [K]."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the names as plain arrays, from which `of` makes it again."""


def per_class(classes: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]]:
    """{class: {score: value}} from each score's values [K]."""
    return {name: {score: values[i].item() for score, values in columns.items()} for i, name in enumerate(classes)}
