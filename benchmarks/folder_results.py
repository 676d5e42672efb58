"""How far two predictions of the same folder say the same: average precision, first classes, pixels."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.photo_folder import TRUTH

Rows = dict[str, list[dict[str, Any]]]  # of each image


def read_rows(folder: Path) -> Rows:
    """What `predictions.jsonl` says."""
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return {row["image"]: row["predictions"] for row in map(json.loads, lines)}


def read_yolo(labels: Path, images: Path, classes: list[str]) -> Rows:
    """The same from ultralytics' text files: class, centre, width and height as shares of the image, score.

    An image without boxes has no file.
    """
    return {path.name: _yolo_boxes(labels / f"{path.stem}.txt", path, classes) for path in sorted(images.iterdir())}


def _yolo_boxes(label: Path, image: Path, classes: list[str]) -> list[dict[str, Any]]:
    if not label.exists():
        return []
    with Image.open(image) as opened:
        width, height = opened.size
    found = []
    for line in label.read_text().splitlines():
        number, x, y, w, h, score = (float(word) for word in line.split())
        box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        found.append({"label": classes[int(number)], "score": score, "box": box})
    return found


def average_precision(work: Path, rows: Rows) -> float:
    """COCO's mAP by pycocotools over the images that have truth."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        truth = COCO(str(work / TRUTH))
        category = {each["name"]: each["id"] for each in truth.dataset["categories"]}
        results = [
            {"image_id": image["id"], "category_id": category[box["label"]], "score": box["score"],
             "bbox": [box["box"][0], box["box"][1], box["box"][2] - box["box"][0], box["box"][3] - box["box"][1]]}
            for image in truth.dataset["images"] for box in rows[image["file_name"]]
        ]  # fmt: skip
        if not results:
            return 0.0
        scored = COCOeval(truth, truth.loadRes(results), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return float(scored.stats[0])


def same_first_class(one: Rows, other: Rows) -> float:
    """The share of images whose likeliest class is the same. Raises ValueError where they are not the same images."""
    if one.keys() != other.keys():
        raise ValueError(f"{len(one.keys() ^ other.keys())} images are in one of two predictions only")
    return float(np.mean([one[image][0]["label"] == other[image][0]["label"] for image in one]))


def same_pixels(one: Path, other: Path) -> float:
    """The share of pixels of the same class, over all PNG files of two folders with the same names."""
    same = total = 0
    for path in sorted(one.iterdir()):
        pixels = np.asarray(Image.open(path)) == np.asarray(Image.open(other / path.name))
        same, total = same + int(pixels.sum()), total + pixels.size
    return same / total
