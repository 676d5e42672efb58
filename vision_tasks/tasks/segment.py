"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from typing import Any

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.data.readers import mask_pairs
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.tasks.base import Output, Task
from vision_tasks.tasks.drawing import mask_on
from vision_tasks.tasks.outputs.drawings import drawings
from vision_tasks.tasks.outputs.jsonl import JSONL
from vision_tasks.tasks.outputs.masks import MASKS, mask_name
from vision_tasks.types import Masks
from vision_tasks.warp import Pixels


def record(prediction: Masks, image: str, output: Output) -> list[dict[str, Any]]:
    """The file of the mask, and the pixels of each class in it."""
    counts = prediction.index.flatten().long().bincount(minlength=len(output.classes)).tolist()
    area = {label: count for label, count in zip(output.classes, counts, strict=False) if count}
    return [{"mask": mask_name(image), "area": area}]


def draw(pixels: Pixels, prediction: Masks, output: Output) -> Pixels:
    """The image under its classes' colours, with a legend of those that occur."""
    return mask_on(pixels, prediction.index[0].numpy(), output.classes)


SEGMENT: Task[Masks] = Task(
    name="segment",
    readers=(mask_pairs.READER,),
    metric=SegmentationMetric,
    score="miou",
    headline=("miou", "dice", "pixel_accuracy"),
    record=record,
    formats={"drawings": drawings(draw), "masks": MASKS, "jsonl": JSONL},
    always=("masks", "jsonl"),
    recipe=TrainConfig(
        task="segment",
        model="unet:resnet34",
        image_size=512,
        fit="letterbox",
        augment=Policy(flip_x=0.5, zoom=(0.75, 1.5), shift=0.1, brightness=0.2, contrast=0.2, saturation=0.2),
        epochs=50,
        batch_size=8,
        lr=1e-3,
        weight_decay=0.01,
    ),
)
