"""What was found, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vision_tasks.benchmarking.judge import ALPHA, FEWEST_IMAGES
from vision_tasks.benchmarking.record import DataFacts, Estimate, ModelRecord, Pair
from vision_tasks.errors import some

_LISTED = 6  # names in a sentence


def sentences(
    metric: str,
    quality: Mapping[str, Estimate],
    pairs: Sequence[Pair],
    latency: Mapping[str, float],
    failed: Sequence[ModelRecord],
) -> list[str]:
    """The best model, who ties with it, who is worse and what it costs; then whoever failed.

    `quality` is of the models by falling score, `latency` in milliseconds.
    """
    said = []
    if quality:
        best = next(iter(quality))
        said += [_best(metric, best, quality[best])] if len(quality) > 1 else [_only(metric, best, quality[best])]
        own = [pair for pair in pairs if best in (pair.better, pair.worse)]
        said += _tie(best, [_other(pair, best) for pair in own if not pair.different], latency)
        said += [_better(pair, latency) for pair in own if pair.different]
    return [*said, *(f"{model.name} failed: {model.error}." for model in failed)]


def remarks(
    data: DataFacts, images: int, rare: Sequence[str], seeds: Mapping[str, int], pairs: Sequence[Pair]
) -> list[str]:
    """What makes the numbers unsure. `images` were scored, `rare` classes are shown by at most one of them."""
    said = []
    if images < FEWEST_IMAGES:
        said.append(
            f"{images} images in '{data.split}': too few for an interval, or to tell models apart; "
            f"{FEWEST_IMAGES} are needed, and hundreds are better"
        )
    if rare:
        said.append(
            f"{some(rare, _LISTED)}: at most one image of '{data.split}' shows it, so what is said of it is luck"
        )
    if data.limit is not None:
        said.append(f"trained on a subset: {data.training_images} training images, stratified, the same for all")
    if alone := [name for name, count in seeds.items() if count == 1]:
        said.append(f"{some(alone, _LISTED)}: one training, so how much luck is in it is not known")
    if unsteady := [pair for pair in pairs if pair.p_holm < ALPHA and not pair.different]:
        names = some([f"{pair.better} and {pair.worse}" for pair in unsteady], 3)
        said.append(f"{names}: different on these images, but trainings with other seeds differ about as much")
    return said


def _best(metric: str, name: str, score: Estimate) -> str:
    return f"{name} has the highest {metric}, {_value(score)}."


def _only(metric: str, name: str, score: Estimate) -> str:
    return f"{name} has a {metric} of {_value(score)}; there is nothing to compare it with."


def _value(score: Estimate) -> str:
    if score.low is None or score.high is None:
        return f"{score.mean:.3f}"
    return f"{score.mean:.3f} (95 % interval {score.low:.3f} to {score.high:.3f})"


def _tie(best: str, others: Sequence[str], latency: Mapping[str, float]) -> list[str]:
    if not others:
        return []
    said = [f"It can't be told apart from {some(others, _LISTED)}."]
    timed = {name: latency[name] for name in (best, *others) if name in latency}
    if len(timed) == len(others) + 1:
        fastest = min(timed, key=lambda name: timed[name])
        said.append(f"Of these, {fastest} is the fastest: {_milliseconds(timed[fastest])} an image.")
    return said


def _better(pair: Pair, latency: Mapping[str, float]) -> str:
    low, high = 100 * pair.low, 100 * pair.high
    said = (
        f"{pair.better} is better than {pair.worse} by {100 * pair.difference:.1f} points of {pair.metric} "
        f"(95 % interval {low:.1f} to {high:.1f})"
    )
    if pair.better in latency and pair.worse in latency:
        said += f" at {_times(latency[pair.better] / latency[pair.worse])} its latency"
    return said + "."


def _times(ratio: float) -> str:
    if 0.95 < ratio < 1.05:
        return "about"
    return f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.1f} times" if ratio >= 1 else f"{ratio:.2f} times"


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def _other(pair: Pair, name: str) -> str:
    return pair.worse if pair.better == name else pair.better
