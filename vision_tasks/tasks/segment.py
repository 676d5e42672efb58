"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from typing import Any

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.data.readers import mask_pairs
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.tasks.base import Output, Task
from vision_tasks.tasks.drawing import mask_on, save_mask
from vision_tasks.types import Masks
from vision_tasks.warp import Pixels


def record(prediction: Masks, output: Output) -> list[dict[str, Any]]:
    """A class-index PNG in the original's size, and the pixels of each class in it."""
    index = prediction.index[0]
    counts = index.flatten().long().bincount(minlength=len(output.classes)).tolist()
    name = f"masks/{output.image}.png"
    save_mask(output.folder / name, index.numpy(), len(output.classes))
    area = {label: count for label, count in zip(output.classes, counts, strict=False) if count}
    return [{"mask": name, "area": area}]


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
    draw=draw,
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
