"""What judging takes of one run: its scores on the same random halves of the images as all others', and of each image.

They are computed once, by the process that scored the model, so that judging is a matter of milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.files import replacing
from vision_tasks.metrics.base import Evidence
from vision_tasks.metrics.bootstrap import halves
from vision_tasks.metrics.ratios import Array

_FILE = "resampled.npz"


@dataclass(frozen=True)
class Resampled:
    """Of n images and K classes."""

    images: tuple[str, ...]
    whole: Mapping[str, float]  # each score of all images
    of_halves: Mapping[str, Array]  # each score [R] on `halves`; R = 0 for fewer than two images
    alone: Array  # [n], how well each image alone is predicted; nan where that can't be said
    support: Mapping[str, int]  # images that show each class

    @classmethod
    def of(cls, evidence: Evidence, classes: NDArray[Any]) -> Resampled:
        """From the evidence of a metric whose classes are `classes` [K]."""
        count = len(evidence.images)
        whole = {name: float(values[0]) for name, values in evidence.scores(np.ones((1, count))).items()}
        return cls(
            evidence.images,
            whole,
            {name: np.asarray(values) for name, values in evidence.scores(halves(count).T, quick=True).items()},
            evidence.alone(),
            dict(zip(classes.tolist(), evidence.support().tolist(), strict=True)),
        )


def write_resampled(folder: Path, resampled: Resampled) -> None:
    """Into the folder of the run."""
    text = json.dumps({"images": resampled.images, "whole": resampled.whole, "support": resampled.support})
    letters = np.frombuffer(text.encode(), np.uint8)
    with replacing(folder / _FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=letters, alone=resampled.alone, **_named(resampled.of_halves))


def read_resampled(folder: Path) -> Resampled:
    """What `write_resampled` wrote."""
    with np.load(folder / _FILE, allow_pickle=False) as stored:
        arrays = dict(stored)
    about, alone = json.loads(bytes(arrays.pop("about"))), arrays.pop("alone")
    of_halves = {name.removeprefix("halves."): values for name, values in arrays.items()}
    return Resampled(tuple(about["images"]), about["whole"], of_halves, alone, about["support"])


def _named(of_halves: Mapping[str, Array]) -> dict[str, Any]:
    return {f"halves.{name}": values for name, values in of_halves.items()}
