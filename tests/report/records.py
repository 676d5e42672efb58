"""Records for pages: of a benchmark with pictures, of evaluations of each kind, of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarking.example import example
from vision_tasks.benchmarking.record import Benchmark

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028<b>'\"&amp;%{x}"

PER_CLASS = {"cat": {"map": 0.5, "map_50": 0.7, "boxes": 10}, "dog": {"map": 0.4, "map_50": None, "boxes": 5}}
FALLING = {"precision": np.linspace(1, 0, 101).tolist(), "confidence": np.linspace(1, 0, 101).tolist()}
KINDS = ("classification", "localisation", "missed")
BOXES: dict[str, Any] = {
    "map": 0.45, "map_ci": [0.4, 0.5], "map_small": None, "images": 12, "per_class": PER_CLASS,
    "curves": {"cat": FALLING, "dog": FALLING}, "confusion": [[5, 1, 4], [0, 3, 2], [1, 1, 0]],
    "errors": {kind: {"count": 3, "map_50_cost": 0.1} for kind in KINDS},
    "label_errors": [
        {"image": "a.jpg", "what": "missing label", "confidence": 0.93, "label": "", "predicted": "cat",
         "box": [1, 2, 3, 4]},
    ],
    "split": "test", "failed": [{"path": "b.jpg", "reason": "it is cut short"}],
}  # fmt: skip


def write_benchmark_folder(folder: Path) -> Benchmark:
    """The example, with its pictures in the folder."""
    record = example()
    for image in record.gallery:
        for name in (image.truth, *image.predictions.values()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (400, 300), (200, 30, 30)).save(folder / name)
    return record


def with_hostile_names() -> Benchmark:
    """The example; its first class and its first model have a name that tries to be markup."""
    record = example().model_dump_json()
    return Benchmark.model_validate_json(
        record.replace('"cat"', json.dumps(HOSTILE)).replace('"large"', json.dumps(HOSTILE))
    )


def write_evaluation(folder: Path, metrics: dict[str, Any]) -> Path:
    """The folder of an evaluation."""
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def write_training(folder: Path) -> Path:
    """The folder of a training of three epochs; the second was not validated."""
    folder.mkdir()
    lines = [{"epoch": i, "loss": 1 / (i + 1), "lr": 1e-3, "train_images": 8} for i in range(3)]
    lines[0]["map"], lines[2]["map"] = 0.1, 0.3
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.toml").write_text('model = "yolo11n"\n')
    (folder / "environment.json").write_text(json.dumps({"device": "CPU", "versions": {"torch": "2.14"}}))
    return folder
