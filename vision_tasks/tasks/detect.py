"""Object detection: boxes with classes and confidence scores."""

from __future__ import annotations

from typing import Any

from vision_tasks.config import TrainConfig
from vision_tasks.data.readers import coco_json, pascal_voc, shard_boxes, yolo_labels
from vision_tasks.data.readers.stored_boxes import read_stored_boxes
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.tasks.base import Output, Task
from vision_tasks.tasks.box_tiles import BOX_TILES
from vision_tasks.tasks.drawing import boxes_on
from vision_tasks.tasks.outputs.coco import COCO
from vision_tasks.tasks.outputs.csv_table import csv_table
from vision_tasks.tasks.outputs.drawings import drawings
from vision_tasks.tasks.outputs.jsonl import JSONL
from vision_tasks.tasks.outputs.parquet import parquet_table
from vision_tasks.tasks.outputs.yolo import YOLO
from vision_tasks.types import Boxes
from vision_tasks.warp import Pixels


def record(prediction: Boxes, image: str, output: Output) -> list[dict[str, Any]]:
    """The boxes above the confidence threshold in original pixels, best first."""
    return [
        {"label": output.classes[label], "score": round(score, 6), "box": [round(edge, 3) for edge in box]}
        for box, label, score in _reported(prediction, output)
    ]


def draw(pixels: Pixels, prediction: Boxes, output: Output) -> Pixels:
    """The image with its reported boxes, labelled with class and score."""
    rows = [(box, label, f"{output.classes[label]} {score:.2f}") for box, label, score in _reported(prediction, output)]
    return boxes_on(pixels, rows, output.classes)


def _reported(prediction: Boxes, output: Output) -> list[tuple[list[float], int, float]]:
    boxes = prediction.above(output.report.confidence).flat()
    assert boxes.score is not None
    rows = zip(boxes.xyxy[0].tolist(), boxes.label[0].tolist(), boxes.score[0].tolist(), strict=True)
    return sorted(rows, key=lambda row: -row[2])[: output.report.max_detections]


DETECT: Task[Boxes] = Task(
    name="detect",
    readers=(shard_boxes.READER, pascal_voc.READER, coco_json.READER, yolo_labels.READER),
    metric=DetectionMetric,
    score="map",
    headline=("map", "map_50", "map_75"),
    stored=read_stored_boxes,
    stitch=BOX_TILES,
    record=record,
    formats={
        "drawings": drawings(draw),
        "yolo": YOLO,
        "csv": csv_table(boxes=True),
        "parquet": parquet_table(boxes=True),
        "coco": COCO,
        "jsonl": JSONL,
    },
    recipe=TrainConfig(
        task="detect",
        model="yolo11n",
        image_size=640,
        fit="letterbox",
        epochs=100,
        batch_size=16,
        lr=1e-3,
        weight_decay=0.01,
    ),
)
