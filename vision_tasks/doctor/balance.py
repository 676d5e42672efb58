"""Findings about classes: how much there is of each in every split, and which there is too little of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset
from vision_tasks.doctor.finding import Finding, found
from vision_tasks.doctor.images import Examination

_UNEVEN = 20  # times
_USUAL = 0.95  # of the images
_TRAINED_ON = ("train", "trainval")
_WHOLE = "all"


@dataclass(frozen=True)
class Tally:
    """How often classes occur, by split."""

    splits: tuple[str, ...]
    classes: tuple[str, ...]
    counts: NDArray[np.float64]  # [S,K]: images, boxes or pixels
    images: NDArray[np.int64]  # [S,K]: in which the class occurs
    examined: NDArray[np.int64]  # [S]: images whose truth could be read
    void: NDArray[np.float64]  # [S]: pixels that count nowhere


def tally(dataset: Dataset[Any], images: Sequence[Examination]) -> Tally:
    """Count what was examined."""
    splits = tuple(dataset.splits)
    counts = np.zeros((len(splits), len(dataset.classes)))
    occurring, examined, void = np.zeros(counts.shape, np.int64), np.zeros(len(splits), np.int64), np.zeros(len(splits))
    for each in images:
        if each.truth is not None:
            split = splits.index(each.split)
            counts[split] += each.truth.counts
            occurring[split] += each.truth.counts > 0
            examined[split] += 1
            void[split] += each.truth.void
    return Tally(splits, dataset.classes, counts, occurring, examined, void)


def balance_findings(tally: Tally, images: Sequence[Examination]) -> list[Finding]:
    """What is odd about the numbers of a tally of `images`; nothing where no truth was read."""
    if not tally.examined.any():
        return []
    everywhere = tally.images.sum(axis=0)
    absent = [name for name, count in zip(tally.classes, everywhere, strict=True) if not count]
    once = [f"{name}: {_only_one(tally, images, k)}" for k, name in enumerate(tally.classes) if everywhere[k] == 1]
    return [
        *found("class-without-examples", "warning", "classes that never occur", absent),
        *found("class-in-one-image", "warning", "classes in one image only", once),
        *_between_splits(tally),
        *_uneven(tally),
        *_void(tally),
        *_without_the_usual(tally, images),
        *_nothing_to_see(tally, images),
    ]


def _only_one(tally: Tally, images: Sequence[Examination], k: int) -> str:
    return next(each.id for each in images if each.truth is not None and each.truth.counts[k] > 0)


def _between_splits(tally: Tally) -> list[Finding]:
    trained = [split in _TRAINED_ON for split in tally.splits]
    if not any(trained) or all(trained):
        return []
    there, elsewhere = tally.images[trained].any(axis=0), tally.images[~np.array(trained)].any(axis=0)
    names = np.array(tally.classes, object)
    return [
        *found("class-not-trained", "error", "classes that are scored, and not trained", [*names[elsewhere & ~there]]),
        *found("class-not-scored", "note", "classes that are in train alone", [*names[there & ~elsewhere]]),
    ]


def _uneven(tally: Tally) -> list[Finding]:
    totals = tally.counts.sum(axis=0)
    present = totals[totals > 0]
    if len(present) < 2 or present.max() < _UNEVEN * present.min():
        return []
    order = np.argsort(-totals, kind="stable")
    shares = [f"{tally.classes[k]}: {totals[k] / totals.sum():.2%}" for k in order]
    what = f"classes of which the most frequent occurs {present.max() / present.min():.0f} times as often as the rarest"
    return [Finding("uneven-classes", "note", what, tuple(shares))]


def _void(tally: Tally) -> list[Finding]:
    total = tally.counts.sum() + tally.void.sum()
    if not tally.void.any():
        return []
    by_split = [
        f"{split}: {void / max(1.0, void + counts.sum()):.1%}"
        for split, void, counts in zip(tally.splits, tally.void, tally.counts, strict=True)
    ]
    return [Finding("void", "note", f"splits with void, {tally.void.sum() / total:.1%} of all pixels", tuple(by_split))]


def _without_the_usual(tally: Tally, images: Sequence[Examination]) -> list[Finding]:
    """Images that lack what nearly all have: often somebody forgot to mark it."""
    share = tally.images.sum(axis=0) / tally.examined.sum()
    lacking = [
        f"{each.id}: {tally.classes[k]}"
        for k in np.flatnonzero((share >= _USUAL) & (share < 1)).tolist()
        for each in images
        if each.truth is not None and not each.truth.counts[k]
    ]
    return found("usual-class-missing", "note", f"classes missing that {_USUAL:.0%} of all images have", lacking)


def _nothing_to_see(tally: Tally, images: Sequence[Examination]) -> list[Finding]:
    empty = [
        each.id for each in images if each.truth is not None and not each.truth.counts.any() and not each.truth.void
    ]
    return found("nothing-annotated", "note", "images that show nothing of any class", empty)
