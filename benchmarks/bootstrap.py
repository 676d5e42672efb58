"""How long 1,000 resamples of 5,000 images take: `python -m benchmarks.bootstrap`.

Generated evidence of COCO's size for boxes (80 classes, about 7 boxes of truth and 100 predictions an image), 20
classes for masks, 100 for whole images. No peer stands beside it: the target is a time, of all cores; beside it stands
the time of the processor, all cores together, which does not depend on what else runs. The draws are made before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection_metrics import CLASSES, generated
from benchmarks.harness import REPORTS, ForeignLoad, Spread, environment
from vision_tasks.metrics.base import Evidence
from vision_tasks.metrics.bootstrap import RESAMPLES, halves
from vision_tasks.metrics.classification import ClassificationEvidence
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.metrics.segmentation import SegmentationEvidence

MASK_CLASSES, LABEL_CLASSES = 20, 100


def of_boxes(images: int) -> Evidence:
    """What `DetectionMetric` keeps."""
    metric = DetectionMetric([f"class {i}" for i in range(CLASSES)])
    for i, pair in enumerate(generated(images)):
        metric.update(*pair, str(i))
    return metric.evidence()


def of_masks(images: int, luck: np.random.Generator) -> Evidence:
    """Counts of pixels, boundaries included, of which each image shows few classes."""
    truth = luck.integers(1, 50_000, (images, 2, MASK_CLASSES)) * (luck.random((images, 1, MASK_CLASSES)) < 0.3)
    predicted = np.round(truth * luck.uniform(0.7, 1.3, truth.shape))
    counts = np.stack([np.round(np.minimum(truth, predicted) * 0.9), truth, predicted], axis=2)
    return SegmentationEvidence(names(images), counts.astype(np.float64))


def of_labels(images: int, luck: np.random.Generator) -> Evidence:
    """A classifier that is right three times of four."""
    label = luck.integers(0, LABEL_CLASSES, images)
    rank = np.where(luck.random(images) < 0.75, 0, luck.integers(1, 12, images))
    predicted = np.where(rank == 0, label, luck.integers(0, LABEL_CLASSES, images))
    return ClassificationEvidence(names(images), LABEL_CLASSES, label, predicted, rank, luck.random(images))


def names(images: int) -> tuple[str, ...]:
    """Of that many."""
    return tuple(str(i) for i in range(images))


def measure(images: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of each kind of evidence, taken in turns."""
    luck, draws = np.random.default_rng(0), halves(images).T
    boxes, masks, labels = of_boxes(images), of_masks(images, luck), of_labels(images, luck)
    work: dict[str, tuple[float, Callable[[], Any]]] = {
        "map, map_50, map_75, mar_100": (5, lambda: boxes.scores(draws, quick=True)),
        "these, and map by size": (15, lambda: boxes.scores(draws)),
        "miou and all others of masks": (5, lambda: masks.scores(draws)),
        "accuracy and all others of labels": (5, lambda: labels.scores(draws)),
    }
    waited: dict[str, list[float]] = {name: [] for name in work}
    worked: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats):
        for name in work if turn % 2 == 0 else reversed(work):
            start, cpu = time.perf_counter(), time.process_time()
            work[name][1]()
            waited[name].append(time.perf_counter() - start)
            worked[name].append(time.process_time() - cpu)
            print(f"  {turn + 1}/{repeats} {name}: {waited[name][-1]:.2f} s", flush=True)
    return [
        {"scores": name, "target": work[name][0], "seconds": waited[name], "processor": worked[name]} for name in work
    ]


def markdown(rows: list[dict[str, Any]], images: int, facts: dict[str, Any], load: float) -> str:
    """The table and where it was made."""
    lines = [
        "# The bootstrap",
        "",
        f"{RESAMPLES:,} resamples of {images:,} images: the median (least to most). Other programs took {load:.0%} of "
        "the processor meanwhile.",
        "",
        "| scores | seconds | target | | of the processor |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        spread = Spread.of(row["seconds"])
        verdict = "met" if spread.median < row["target"] else "missed"
        lines.append(f"| {row['scores']} | {spread} | {row['target']} | {verdict} | {Spread.of(row['processor'])} |")
    return "\n".join([*lines, "", *(f"- {name}: {value}" for name, value in facts.items())]) + "\n"


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    with ForeignLoad() as foreign:
        rows = measure(given.images, given.repeats)
    facts = environment()
    text = markdown(rows, given.images, facts, foreign.share)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bootstrap.json").write_text(json.dumps({"environment": facts, "rows": rows}, indent=2) + "\n")
    (given.out / "bootstrap.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
