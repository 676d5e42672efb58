"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from functools import partial
from typing import Any

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.data.readers import (
    ade20k,
    camvid,
    cityscapes,
    coco_masks,
    colour_masks,
    mask_pairs,
    pet_trimaps,
    shard_masks,
    voc_masks,
)
from vision_tasks.data.readers.stored_masks import read_stored_masks
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.tasks.base import Output, Task
from vision_tasks.tasks.class_index import pixel_counts
from vision_tasks.tasks.comparison import masks_beside
from vision_tasks.tasks.drawing import mask_on
from vision_tasks.tasks.mask_tiles import MASK_TILES
from vision_tasks.tasks.outputs.drawings import drawings
from vision_tasks.tasks.outputs.jsonl import JSONL
from vision_tasks.tasks.outputs.masks import MASKS
from vision_tasks.tasks.outputs.parquet import parquet_areas
from vision_tasks.types import Masks
from vision_tasks.warp import Pixels


def record(prediction: Masks, image: str, output: Output) -> list[dict[str, Any]]:
    """The file of the mask, and the pixels of each class in it."""
    counts = pixel_counts(prediction.index[0].numpy())[: len(output.classes)].tolist()
    area = {label: count for label, count in zip(output.classes, counts, strict=True) if count}
    return [{"mask": MASKS.file(image), "area": area}]


def draw(pixels: Pixels, prediction: Masks, output: Output) -> Pixels:
    """The image under its classes' colours, with a legend of those that occur."""
    return mask_on(pixels, prediction.index[0].numpy(), output.classes)


SEGMENT: Task[Masks] = Task(
    name="segment",
    readers=(
        shard_masks.READER,
        cityscapes.READER,
        ade20k.READER,
        voc_masks.READER,
        pet_trimaps.READER,
        camvid.READER,
        mask_pairs.READER,
        colour_masks.READER,
        coco_masks.READER,
    ),
    metric=SegmentationMetric,
    score="miou",
    headline=("miou", "dice", "pixel_accuracy"),
    metric_on_device=True,
    training_metric=partial(SegmentationMetric, boundary=False),
    stored=read_stored_masks,
    compare=masks_beside,
    record=record,
    formats={"drawings": drawings(draw), "masks": MASKS, "parquet": parquet_areas(), "jsonl": JSONL},
    always=("masks", "jsonl"),
    stitch=MASK_TILES,
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
