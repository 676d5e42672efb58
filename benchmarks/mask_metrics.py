"""Overlap of 1-megapixel masks with 20 classes beside torchmetrics and SMP: `python -m benchmarks.mask_metrics`.

Generated street-like scenes: areas of one class, ragged at their edges, of which a tenth is predicted as another class
and 2 % is ignored. Each row is a whole metric, fed mask by mask and asked at the end: ours without boundaries, which do
no more than the peers, beside torchmetrics' `MulticlassJaccardIndex` and SMP's `get_stats` with `iou_score`; then ours
as `evaluate` has it, boundary IoU and intervals included, beside torchmetrics without any of it. The confusion matrices
must be the same, or nothing is reported. All take turns in one process, with one thread each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import REPORTS, Comparison, ForeignLoad, MeasurementError, interleave, rate, write_report
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.types import IGNORE, Masks

TARGET = 5
CLASSES = 20
SIDE = 1024
DIFFERENT = 10  # pairs of masks, which are scored again and again
NAMES = tuple(f"class {i}" for i in range(CLASSES))

Pair = tuple[Tensor, Tensor]  # prediction, truth: uint8 [1,H,W]


def generated(count: int, seed: int = 0) -> list[Pair]:
    """Random scenes, and predictions of them that are wrong near edges and in a few areas."""
    luck = np.random.default_rng(seed)
    return [_pair(luck) for _ in range(count)]


def _pair(luck: np.random.Generator) -> Pair:
    truth = _areas(luck, 12)
    moved = np.roll(truth, tuple(luck.integers(-4, 5, 2)), (0, 1))
    predicted = np.where(_areas(luck, 8) < 2, _areas(luck, 12), moved)
    truth = np.where(_areas(luck, 24) % 50 == 0, IGNORE, truth)
    return (torch.from_numpy(predicted.astype(np.uint8))[None], torch.from_numpy(truth.astype(np.uint8))[None])


def _areas(luck: np.random.Generator, cells: int) -> Any:
    """Classes [SIDE,SIDE] of about `cells` x `cells` areas with ragged edges."""
    small = luck.integers(0, CLASSES, (cells, cells)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    waves = (cv2.GaussianBlur(luck.normal(0, 60, (SIDE, SIDE)).astype(np.float32), (0, 0), 6) for _ in range(2))
    rows, columns = (np.clip((a + wave) * cells / SIDE, 0, cells - 1) for a, wave in zip((y, x), waves, strict=True))
    return small[rows.astype(int), columns.astype(int)].astype(np.int64)


class Torchmetrics:
    """Of int64 masks, as its users have them from argmax and from their data sets."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._pairs = [(p.long(), t.long()) for p, t in pairs]

    def score(self, repeats: int) -> tuple[float, Any]:
        """The mean over classes, and the confusion matrix."""
        from torchmetrics.classification import MulticlassJaccardIndex

        metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, validate_args=False)
        for _ in range(repeats):
            for predicted, truth in self._pairs:
                metric.update(predicted, truth)
        return float(metric.compute()), metric.confmat.numpy()


class Smp:
    """Its multiclass mode, whose ignored index must be below 0."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._pairs = [(p.long(), t.long().masked_fill(t == IGNORE, -1)) for p, t in pairs]

    def score(self, repeats: int) -> tuple[float, Any]:
        """The mean over classes, and true positives, false positives and false negatives of each."""
        from segmentation_models_pytorch.metrics import get_stats, iou_score

        sums = torch.zeros(4, 1, CLASSES, dtype=torch.int64)
        for _ in range(repeats):
            for predicted, truth in self._pairs:
                stats = get_stats(predicted, truth, mode="multiclass", num_classes=CLASSES, ignore_index=-1)
                sums += torch.stack(stats)
        tp, fp, fn, tn = sums
        return float(iou_score(tp, fp, fn, tn, reduction="macro")), sums[:3, 0].numpy()


def ours(pairs: list[Pair], repeats: int, boundary: bool) -> dict[str, Any]:
    """Our metric, fed as `evaluate` feeds it; with `boundary` also the intervals."""
    metric = SegmentationMetric(NAMES, boundary)
    for _ in range(repeats):
        for i, (predicted, truth) in enumerate(pairs):
            metric.update(Masks(predicted, CLASSES), Masks(truth, CLASSES), str(i))
    return metric.compute(intervals=boundary)


def require_equal(pairs: list[Pair], torchmetrics: Torchmetrics, smp: Smp) -> None:
    """Raises MeasurementError where one of the peers counts otherwise."""
    found = ours(pairs, 1, boundary=False)
    confusion = np.array(found["confusion"])[:, :-1]
    mean, theirs = torchmetrics.score(1)
    if not np.array_equal(theirs, confusion) or abs(mean - found["miou"]) > 1e-6:
        raise MeasurementError(f"torchmetrics finds {mean}, we find {found['miou']}")
    right = np.diagonal(confusion)
    mean, theirs = smp.score(1)
    expected = np.stack([right, confusion.sum(axis=0) - right, confusion.sum(axis=1) - right])
    if not np.array_equal(theirs, expected) or abs(mean - found["miou"]) > 1e-6:
        raise MeasurementError(f"SMP finds {mean}, we find {found['miou']}")


def compare(pairs: list[Pair], masks: int, repeats: int) -> list[Comparison]:
    """Masks/s, after all are shown to agree."""
    torchmetrics, smp = Torchmetrics(pairs), Smp(pairs)
    require_equal(pairs, torchmetrics, smp)
    rounds = max(1, masks // len(pairs))
    masks = rounds * len(pairs)  # what is really scored
    contenders: dict[str, Callable[[], Any]] = {
        "torchmetrics": lambda: torchmetrics.score(rounds),
        "SMP": lambda: smp.score(rounds),
        "ours": lambda: ours(pairs, rounds, boundary=False),
        "with boundaries": lambda: ours(pairs, rounds, boundary=True),
    }
    with ForeignLoad() as foreign:
        rates = interleave({who: lambda work=work: rate(work, masks) for who, work in contenders.items()}, repeats)
    what = f"{masks} masks of {SIDE} x {SIDE}, {CLASSES} classes"
    return [
        Comparison(f"{name}, {what}", "masks/s", target, peer, rates[peer], rates[own], foreign.share, note)
        for name, peer, own, target, note in (
            ("IoU", "torchmetrics", "ours", TARGET, "same confusion matrix"),
            ("IoU", "SMP", "ours", TARGET, "same counts"),
            ("as evaluate", "torchmetrics", "with boundaries", 1, "ours with boundary IoU and intervals"),
        )
    ]


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    write_report(
        given.out, "mask_metrics", "Scores of masks", compare(generated(DIFFERENT), given.masks, given.repeats)
    )


if __name__ == "__main__":
    main()
