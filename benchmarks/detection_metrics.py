"""COCO's scores of 5,000 images beside pycocotools: `python -m benchmarks.detection_metrics`.

A generated set of COCO's size: 80 classes of unequal frequency, about 7 boxes of truth and 100 predictions an image.
Two rows: the core, from arrays to scores, beside `loadRes`, `evaluate` and `accumulate`; and our whole metric, fed
image by image as `evaluate` feeds it, beside the same with the list of results that pycocotools needs made from the
same boxes. Precision and recall must be the same bits, or nothing is reported. Both take turns in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import REPORTS, Comparison, ForeignLoad, MeasurementError, interleave, rate, write_report
from vision_tasks.metrics.box_rows import RowList, Rows
from vision_tasks.metrics.coco import CocoEvaluation
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.types import Boxes

TARGET = 50
CLASSES = 80
Pair = tuple[Boxes, Boxes]  # prediction, truth
Found = tuple[NDArray[Any], NDArray[Any]]  # precision and recall


def generated(images: int, truths: int = 7, predictions: int = 100, seed: int = 0) -> list[Pair]:
    """Truth, jittered copies of it, and strays up to the count of predictions, as float32."""
    luck = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, CLASSES + 1) ** 0.8
    frequency /= frequency.sum()

    def boxes(count: int) -> NDArray[Any]:
        corner = luck.uniform(0, 500, (count, 2))
        size = np.exp(luck.normal(3.8, 0.9, (count, 1))) * luck.uniform(0.6, 1.6, (count, 2))
        return np.concatenate([corner, corner + size], axis=1)

    def single(xyxy: NDArray[Any], label: NDArray[Any], score: NDArray[Any] | None = None) -> Boxes:
        values = None if score is None else torch.from_numpy(score)
        crowd = luck.random(len(label)) < (0.02 if score is None else 0)
        return Boxes.single(torch.from_numpy(xyxy), torch.from_numpy(label), torch.from_numpy(crowd), values)

    pairs = []
    for _ in range(images):
        count = luck.poisson(truths)
        truth, label = boxes(count), luck.choice(CLASSES, count, p=frequency)
        copied = np.repeat(np.arange(count), luck.poisson(2.5, count))[:predictions]
        size = np.tile(truth[copied, 2:] - truth[copied, :2], 2)
        near = truth[copied] + size * luck.normal(0, 0.08, size.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        strays = predictions - len(copied)
        named = luck.choice(CLASSES, predictions, p=frequency)
        named[: len(copied)] = np.where(luck.random(len(copied)) < 0.85, label[copied], named[: len(copied)])
        score = np.concatenate([luck.beta(3, 3, len(copied)), luck.beta(1, 6, strays)])
        pairs.append((single(np.concatenate([near, boxes(strays)]), named, score), single(truth, label)))
    return pairs


class Peer:
    """pycocotools on the same boxes."""

    def __init__(self, pairs: list[Pair]) -> None:
        from pycocotools.coco import COCO

        self._images = len(pairs)
        self._truth = COCO()
        self._truth.dataset = {
            "images": [{"id": i + 1} for i in range(len(pairs))],
            "categories": [{"id": i + 1, "name": str(i)} for i in range(CLASSES)],
            "annotations": _annotations(pairs),
        }
        with contextlib.redirect_stdout(io.StringIO()):
            self._truth.createIndex()

    def scores(self, results: NDArray[Any] | list[dict[str, Any]]) -> Found:
        """Of results as `loadRes` takes them."""
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self._truth, self._truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval["precision"], evaluation.eval["recall"]


def results_of(pairs: list[Pair]) -> list[dict[str, Any]]:
    """The list that users of pycocotools make."""
    found = []
    for i, (boxes, _) in enumerate(pairs):
        assert boxes.score is not None
        rows = zip(boxes.xyxy[0].double().tolist(), boxes.label[0].tolist(), boxes.score[0].tolist(), strict=True)
        for (x0, y0, x1, y1), label, score in rows:
            box = [x0, y0, x1 - x0, y1 - y0]
            found.append({"image_id": i + 1, "category_id": label + 1, "bbox": box, "score": score})
    return found


def compare(pairs: list[Pair], repeats: int) -> list[Comparison]:
    """Images/s of the core and of the whole metric, after both are shown to agree."""
    truth, predictions = RowList(), RowList()
    for prediction, real in pairs:
        assert prediction.score is not None
        truth.add(real, real.crowd.numpy())
        predictions.add(prediction, prediction.score.numpy())
    rows, peer, results = (truth.rows(), predictions.rows()), Peer(pairs), results_of(pairs)
    _require_equal(_core(len(pairs), *rows), peer.scores(results))
    contenders = {
        "core": {"peer": lambda: peer.scores(results), "ours": lambda: _core(len(pairs), *rows)},
        "metric": {"peer": lambda: peer.scores(results_of(pairs)), "ours": lambda: _metric(pairs)},
    }
    notes = {"core": "same bits", "metric": "without intervals, curves and errors"}
    return [_compared(name, work, len(pairs), repeats, notes[name]) for name, work in contenders.items()]


def _compared(name: str, work: dict[str, Any], images: int, repeats: int, note: str) -> Comparison:
    timed = {who: lambda run=run: rate(run, images) for who, run in work.items()}
    with ForeignLoad() as foreign:
        rates = interleave(timed, repeats)
    title = f"{name}, {images} images, {CLASSES} classes"
    return Comparison(title, "images/s", TARGET, "pycocotools", rates["peer"], rates["ours"], foreign.share, note)


def _core(images: int, truth: Rows, predictions: Rows) -> Found:
    precision, recall, _ = CocoEvaluation(images, CLASSES, truth, predictions).curves()
    return precision, recall


def _metric(pairs: list[Pair]) -> None:
    metric = DetectionMetric([str(i) for i in range(CLASSES)])
    for i, (prediction, truth) in enumerate(pairs):
        metric.update(prediction, truth, str(i))
    metric.compute(intervals=False)


def _annotations(pairs: list[Pair]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i, (_, truth) in enumerate(pairs):
        rows = zip(truth.xyxy[0].double().tolist(), truth.label[0].tolist(), truth.crowd[0].tolist(), strict=True)
        for (x0, y0, x1, y1), label, crowd in rows:
            box, area = [x0, y0, x1 - x0, y1 - y0], (x1 - x0) * (y1 - y0)
            row = {"id": len(found) + 1, "image_id": i + 1, "category_id": label + 1, "bbox": box, "area": area}
            found.append(row | {"iscrowd": int(crowd)})
    return found


def _require_equal(ours: Found, theirs: Found) -> None:
    for name, left, right in zip(("precision", "recall"), ours, theirs, strict=True):
        if not np.array_equal(left, right):
            raise MeasurementError(f"{name} differs from pycocotools by up to {np.abs(left - right).max()}")


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    write_report(given.out, "detection_metrics", "Scores of boxes", compare(generated(given.images), given.repeats))


if __name__ == "__main__":
    main()
