"""Image classification: one class for a whole image."""

from __future__ import annotations

from typing import Any

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.data.readers import folder_per_class
from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.tasks.base import Output, Task
from vision_tasks.tasks.drawing import caption
from vision_tasks.types import Labels
from vision_tasks.warp import Pixels

_TOP = 5


def record(prediction: Labels, output: Output) -> list[dict[str, Any]]:
    """The most probable classes, best first."""
    best = prediction.weight[0].topk(min(_TOP, len(output.classes)))
    return [
        {"label": output.classes[label], "score": round(score, 6)}
        for score, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def draw(pixels: Pixels, prediction: Labels, output: Output) -> Pixels:
    """The image with its class and probability on a bar below it."""
    best = record(prediction, output)[0]
    return caption(pixels, f"{best['label']} {best['score']:.2f}")


CLASSIFY: Task[Labels] = Task(
    name="classify",
    readers=(folder_per_class.READER,),
    metric=ClassificationMetric,
    score="top1",
    headline=("top1", "top5", "macro_f1"),
    record=record,
    draw=draw,
    recipe=TrainConfig(
        task="classify",
        model="resnet18",
        image_size=224,
        fit="crop",
        augment=Policy(crop_area=(0.35, 1.0), flip_x=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        epochs=30,
        batch_size=32,
        lr=1e-3,
        weight_decay=0.05,
    ),
)
