"""Named complete configurations, as functions; a variant is a call of `changed` on one of them.

`vision-tasks demo` runs those of digits, on its own data (`commands/digits.py`). Times are of two CPU cores without
bfloat16 units; scores are of the test split.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.config import Policy, TrainConfig
from vision_tasks.tasks import CLASSIFY, DETECT, SEGMENT

# Handwriting mirrored is another sign, or none.
_DIGIT = Policy(rotate=8, shear=4, zoom=(0.9, 1.15), shift=0.06, brightness=0.2, contrast=0.2)
_SCENE = Policy(zoom=(0.8, 1.25), shift=0.1, brightness=0.2, contrast=0.2, saturation=0.3, hue=0.05)


def eurosat_resnet18(data: Path) -> TrainConfig:
    """ResNet-18 from scratch on 1,400 satellite tiles of 64 px: top1 0.850, mean of three. Tiles have no up or down.

    vision-tasks classify train --data DATA --model resnet18 --image-size 64 --epochs 30 --augment light --lr 2e-3
      --set schedule=one_cycle --set label_smoothing=0.1 --set augment.flip_y=0.5 --set augment.quarter_turns=true
      --set augment.shift=0.06 --set augment.border=mirror --set augment.brightness=0.1 --set augment.contrast=0.1
      --set validate_every=30
    """
    augment = Policy(
        flip_x=0.5, flip_y=0.5, quarter_turns=True, shift=0.06, border="mirror", brightness=0.1, contrast=0.1
    )
    return CLASSIFY.recipe.changed(
        data=str(data), model="resnet18", image_size=64, epochs=30, lr=2e-3, schedule="one_cycle",
        label_smoothing=0.1, augment=augment, validate_every=30,
    )  # fmt: skip


def nuclei_unet(data: Path) -> TrainConfig:
    """U-Net from scratch on 72 microscope photos: IoU of nuclei 0.861, half an hour. They have no up or down.

    vision-tasks segment train --data DATA --model unet:resnet18 --image-size 256 --epochs 60 --batch-size 4 --lr 1e-3
      --augment light --set norm=group --set fit=stretch --set schedule=one_cycle --set ema=0.98
      --set augment.flip_y=0.5 --set augment.quarter_turns=true --set augment.border=mirror
      --set augment.brightness=0.2 --set augment.contrast=0.2 --set augment.saturation=0.3 --set augment.hue=0.03
      --set validate_every=20
    """
    augment = Policy(
        flip_x=0.5,
        flip_y=0.5,
        quarter_turns=True,
        border="mirror",
        brightness=0.2,
        contrast=0.2,
        saturation=0.3,
        hue=0.03,
    )
    return SEGMENT.recipe.changed(
        data=str(data), model="unet:resnet18", norm="group", image_size=256, fit="stretch", augment=augment, epochs=60,
        batch_size=4, lr=1e-3, schedule="one_cycle", ema=0.98, validate_every=20,
    )  # fmt: skip


def digits_resnet18(data: Path) -> TrainConfig:
    """ResNet-18 on single digits: 45 s, top1 0.99."""
    return CLASSIFY.recipe.changed(
        data=str(data), model="resnet18", image_size=32, fit="stretch", augment=_DIGIT, epochs=6, batch_size=64, lr=2e-3
    )


def digits_yolo11n(data: Path) -> TrainConfig:
    """YOLO11n on scenes of digits, from scratch: 100 s, map_50 0.94."""
    augment = _SCENE.model_copy(update={"mosaic": 0.5, "mix_off": 3})
    return DETECT.recipe.changed(
        data=str(data), model="yolo11n", image_size=96, augment=augment, epochs=9, batch_size=16, lr=2e-3,
        validate_every=9,
    )  # fmt: skip


def digits_faster_rcnn(data: Path) -> TrainConfig:
    """Faster R-CNN on scenes of digits: 20 s, in which its loss falls; to be good it needs many more."""
    return DETECT.recipe.changed(
        data=str(data), model="fasterrcnn_mobilenet_v3_large_320_fpn", image_size=96, augment=_SCENE,
        max_images=80, epochs=2, batch_size=4, lr=1e-3,
    )  # fmt: skip


def digits_unet(data: Path, encoder: Path | None = None) -> TrainConfig:
    """U-Net on scenes of digits, its encoder from `encoder`, a classifier of ours: 4 minutes, miou 0.8."""
    return SEGMENT.recipe.changed(
        data=str(data), model="unet:resnet18", weights=str(encoder or "none"), image_size=64,
        augment=Policy(shift=0.05, brightness=0.15, contrast=0.15), epochs=12, batch_size=16, lr=3e-3,
        warmup_epochs=0.5, validate_every=12,
    )  # fmt: skip
