"""Which differences are real: estimates, pairs, ties, Pareto fronts. From what runs left behind; no model is needed.

All models are scored on the same random halves of the images. A model's score is the mean over its seeds, half by half,
and so are the differences of two models. That covers the luck of the images. The luck of trainings is looked at
apart: where both models have several seeds, a difference must also be more than two of its standard errors over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, sqrt
from statistics import stdev

import numpy as np

from vision_tasks.benchmarking.record import Estimate, Pair
from vision_tasks.benchmarking.resampled import Resampled
from vision_tasks.errors import UserError
from vision_tasks.metrics.bootstrap import corrected_interval
from vision_tasks.metrics.pairing import Difference, difference, holm
from vision_tasks.metrics.ratios import Array

FEWEST_IMAGES = 10  # below that a resample says nothing of other images
ALPHA = 0.05
_SEED_ERRORS = 2.0


@dataclass(frozen=True)
class Scored:
    """A model with the runs of all its seeds."""

    name: str
    runs: tuple[Resampled, ...]

    def mean(self, metric: str) -> float:
        """Over seeds; nan where one is undefined."""
        return float(np.mean([run.whole[metric] for run in self.runs]))

    def of_halves(self, metric: str) -> Array:
        """The mean over seeds on each half [R]."""
        return np.asarray(np.mean([run.of_halves[metric] for run in self.runs], axis=0))

    def alone(self) -> Array:
        """Each image's score, the mean over seeds [n]."""
        return np.asarray(np.mean([run.alone for run in self.runs], axis=0))

    def spread(self, metric: str) -> float | None:
        """The standard deviation over seeds."""
        return stdev(run.whole[metric] for run in self.runs) if len(self.runs) > 1 else None


def estimates(scored: Scored) -> dict[str, Estimate]:
    """Every score; without an interval where the images are too few, or where none was computed."""
    return {metric: _estimate(scored, metric) for metric in scored.runs[0].whole}


def _estimate(scored: Scored, metric: str) -> Estimate:
    mean = scored.mean(metric)
    low = high = None
    if metric in scored.runs[0].of_halves and not too_few(scored):
        low, high = map(_defined, corrected_interval(mean, scored.of_halves(metric)))
    spread = scored.spread(metric)
    return Estimate(mean=_defined(mean), low=low, high=high, spread=None if spread is None else _defined(spread))


def too_few(scored: Scored) -> bool:
    """Whether the images are so few that no interval is given."""
    return len(scored.runs[0].images) < FEWEST_IMAGES


def compare(models: Sequence[Scored], metric: str) -> list[Pair]:
    """Every two models, the better first; none where images are too few or a score is undefined.

    Raises UserError where they were scored on different images.
    """
    able = [model for model in models if not isnan(model.mean(metric)) and not too_few(model)]
    _require_same_images(able)
    pairs = [(a, b) if a.mean(metric) >= b.mean(metric) else (b, a) for a, b in combinations(able, 2)]
    found = [_difference(*pair, metric) for pair in pairs]
    corrected = holm([each.p for each in found])
    return [
        _pair(first, second, metric, each, p)
        for (first, second), each, p in zip(pairs, found, corrected, strict=True)
        if not isnan(each.low)
    ]


def _difference(first: Scored, second: Scored, metric: str) -> Difference:
    a, b = first.alone(), second.alone()
    differing = int(np.count_nonzero((a != b) & ~(np.isnan(a) & np.isnan(b))))
    scores = first.mean(metric), second.mean(metric)
    return difference(scores, (first.of_halves(metric), second.of_halves(metric)), differing)


def _pair(first: Scored, second: Scored, metric: str, found: Difference, p: float) -> Pair:
    error = _seed_error(first, second, metric)
    sure = p < ALPHA and (error is None or found.value > _SEED_ERRORS * error)
    return Pair(
        better=first.name, worse=second.name, metric=metric, difference=found.value, low=found.low, high=found.high,
        p=found.p, p_holm=p, seed_error=error, different=sure,
    )  # fmt: skip


def _seed_error(first: Scored, second: Scored, metric: str) -> float | None:
    """The standard error of the difference over seeds; None unless both have several."""
    spreads = [(model.spread(metric), len(model.runs)) for model in (first, second)]
    if any(spread is None for spread, _ in spreads):
        return None
    return sqrt(sum(spread**2 / count for spread, count in spreads if spread is not None))


def _require_same_images(models: Sequence[Scored]) -> None:
    wanted = models[0].runs[0].images if models else ()
    for model in models:
        if any(run.images != wanted for run in model.runs):
            raise UserError(
                f"{model.name} was scored on other images than {models[0].name}: files have changed, or can't be read "
                "any more; give another --out"
            )


def ties(order: Sequence[str], pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Groups that can't be told apart, from names by falling score: neighbours of whom no two are different.

    Each group is as large as it can be, so groups may share models.
    """
    different = {frozenset((pair.better, pair.worse)) for pair in pairs if pair.different}
    compared = {name for pair in pairs for name in (pair.better, pair.worse)}
    order = [name for name in order if name in compared]
    groups: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(frozenset((one, order[end])) in different for one in order[start:end]):
            end += 1
        if end - start > 1 and not (groups and set(order[start:end]) <= set(groups[-1])):
            groups.append(tuple(order[start:end]))
    return groups


def pareto(quality: Mapping[str, float], cost: Mapping[str, float]) -> tuple[str, ...]:
    """The models that none beats in one without being worse in the other; cheapest first, equals as they were given."""
    names = sorted((name for name in quality if name in cost), key=lambda name: (cost[name], -quality[name]))
    front: list[str] = []
    for name in names:
        equal = bool(front) and (quality[name], cost[name]) == (quality[front[-1]], cost[front[-1]])
        if not front or quality[name] > quality[front[-1]] or equal:
            front.append(name)
    return tuple(front)


def rare_classes(scored: Scored) -> list[str]:
    """Classes that at most one of the images shows."""
    return [name for name, images in scored.runs[0].support.items() if images < 2]


def _defined(value: float) -> float | None:
    return None if isnan(value) else value
