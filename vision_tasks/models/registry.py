"""Every model by its name, and what a user should know of it before it is built.

A name is `head` or `head:encoder` (`unet:resnet18`); the part behind the colon goes to the family's builder. Names that
start with `timm/` are timm's own. Nothing of a third party is imported before a model of its family is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vision_tasks.config import Policy
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import ModelInfo, TaskModel
from vision_tasks.models.group_norm import normalise_by_groups

Build = Callable[[ModelInfo, str], TaskModel[Any]]  # gets the encoder too; "" for models that have no choice of one


@dataclass(frozen=True)
class Entry:
    """One name of the registry."""

    task: str
    family: str
    code_licence: str  # SPDX
    build: Build
    size_multiple: int = 1
    encoder: str = ""  # the one of the bare name; empty = the name takes no encoder
    extra: str = ""  # of vision-tasks, that installs what `build` imports
    recipe: Mapping[str, Any] = field(default_factory=dict)  # settings in which this family's training differs
    any_channels: bool = True  # False: its images have three
    published_classes: int = 1000  # of the network in its paper or its pretrained form
    note: str = ""  # what else to know of it, in a few words


def create_model(
    name: str,
    classes: Sequence[str],
    weights: Path | str | None = None,
    *,
    channels: int = 3,
    exclusive: bool = True,
    norm: str = "batch",
) -> TaskModel[Any]:
    """Build a model for `classes`, in that order; untrained, or started from a checkpoint of this project.

    `channels` are those of its images; not `exclusive` means that an image may have several classes at once; `norm` is
    what normalises, batch or group.

    Raises UserError for unknown names, a missing extra, empty or repeated classes, channels that the family can't take.
    """
    entry, full_name, encoder = _resolve(name)
    _check_classes(classes)
    if channels != 3 and not entry.any_channels:
        raise UserError(f"model '{name}' takes RGB images only, not {channels} channels; leave out --bands")
    info = ModelInfo(
        full_name,
        entry.family,
        tuple(classes),
        entry.size_multiple,
        entry.code_licence,
        channels=channels,
        exclusive=exclusive,
        norm=norm,
    )
    try:
        model = entry.build(info, encoder)
    except ModuleNotFoundError as missing:
        if not entry.extra:
            raise
        remedy = f'pip install "vision-tasks[{entry.extra}]" ({entry.code_licence})'
        raise UserError(f"model '{name}' needs {missing.name}: {remedy}") from None
    if norm == "group":
        normalise_by_groups(model)
    if weights is not None:
        from vision_tasks.models.transfer import start_from

        start_from(model, weights)
    return model


def model_names(task: str | None = None) -> tuple[str, ...]:
    """All names, or those of a task; `head` stands for every `head:encoder`, `timm/NAME` for all models of timm."""
    tasks = {entry.task for entry in MODELS.values()}
    if task is not None and task not in tasks:
        raise unknown_name("task", task, tasks)
    return tuple(name for name, entry in MODELS.items() if task in (None, entry.task))


def model_entry(name: str) -> Entry:
    """The entry behind `head`, `head:encoder` or `timm/NAME`."""
    return _resolve(name)[0]


def _resolve(name: str) -> tuple[Entry, str, str]:
    """The entry, the full name and the encoder behind a name."""
    head, colon, encoder = name.partition(":")
    entry = MODELS.get(head)
    if entry is None and name.startswith(TIMM):
        entry = _timm_entry(name)
    if entry is None:
        raise unknown_name("model", head, MODELS)
    if colon and not entry.encoder:
        raise UserError(f"model '{head}' takes no encoder; write '{head}' instead of '{name}'")
    encoder = encoder or entry.encoder
    return entry, f"{head}:{encoder}" if encoder else head, encoder


def _check_classes(classes: Sequence[str]) -> None:
    if not classes:
        raise UserError("a model needs at least one class")
    repeated = [name for name, count in Counter(classes).items() if count > 1]
    if repeated:
        raise UserError(f"classes must differ by name; repeated: {', '.join(repeated)}")


def _timm_entry(name: str) -> Entry:
    from vision_tasks.models import timm_classifiers

    return replace(MODELS[f"{TIMM}NAME"], recipe=timm_classifiers.recipe(name))


def _torchvision_classifier(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models import torchvision_classifiers

    return torchvision_classifiers.build(info)


def _timm_classifier(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models import timm_classifiers

    return timm_classifiers.build(info)


def _classic(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.classic import CLASSIC

    return CLASSIC[info.name](info)


def _cifar_resnet(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models import cifar_resnet

    return cifar_resnet.build(info)


def _torchvision_detector(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models import torchvision_detectors

    return torchvision_detectors.build(info)


def _ultralytics(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.ultralytics_yolo import UltralyticsYolo

    return UltralyticsYolo(info)


def _torchvision_segmenter(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.torchvision_segmenters import TorchvisionSegmenter

    return TorchvisionSegmenter(info)


def _original_unet(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.unet import OriginalUnet

    return OriginalUnet(info)


def _smp(arch: str) -> Build:
    def build(info: ModelInfo, encoder: str) -> TaskModel[Any]:
        from vision_tasks.models.smp import SmpSegmenter

        return SmpSegmenter(info, arch, encoder)

    return build


# No normalisation, so a small rate: after 70 steps on digits VGG-16's layers were still at chance with AdamW at 1e-3
# (loss 2.30), and at 0.58 with 1e-4.
_GENTLE: dict[str, Any] = {"lr": 1e-4}
# Made for centred digits on 28x28 pixels: cropped or mirrored, they would be others.
_DIGITS: dict[str, Any] = {
    "image_size": 28,
    "fit": "stretch",
    "augment": Policy().model_dump(),
    "batch_size": 64,
    "weight_decay": 0.01,
}
# He et al. 2015, section 4.2: mirrored, and moved by up to 4 of 32 pixels.
_CIFAR: dict[str, Any] = {
    "image_size": 32,
    "augment": Policy(flip_x=0.5, shift=0.125).model_dump(),
    "batch_size": 128,
    "optimiser": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


def _of_boxes(**settings: Any) -> dict[str, Any]:
    """A policy for detectors: two blended images are about equally strong, as ultralytics draws them.

    What classifiers take, Beta(0.2, 0.2), leaves one of them hardly to be seen, but all of its boxes in the truth.
    """
    return Policy(mixup_alpha=32.0, **settings).model_dump()


# What ultralytics trains by: its default.yaml, and AdamW, which its rule "auto" takes for up to 10,000 steps. It
# multiplies the loss by the batch size and sums gradients over 64 images; here a step is the mean over its batch.
# AdamW doesn't feel that factor, SGD does: their 0.01 would be 0.01 * 64 here. Their rate for AdamW falls with the
# number of classes K, 0.01 / (4 + K): 1.4e-3 for 3, 1.2e-4 for 80. Ours is theirs for 6, whatever K: a deviation.
# The gains of the losses (7.5, 0.5, 1.5) are the adapter's. Otherwise than there each batch is a step, since small
# sets would have few of them, the rate falls by a cosine, and the mean of weights spans the last ninth of the steps
# until that is 10,000.
_YOLO_RECIPE: dict[str, Any] = {
    "augment": _of_boxes(
        flip_x=0.5,
        zoom=(0.5, 1.5),
        shift=0.1,
        brightness=0.4,
        saturation=0.7,
        hue=0.015,
        mosaic=1.0,
        mix_off=10,
    ),
    "batch_size": 16,
    "optimiser": "adamw",
    "lr": 1e-3,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup_epochs": 3.0,
    "ema": 0.9999,
}

# torchvision's references/detection: SGD, images mirrored at random, 26 epochs of COCO, for 16 images (8 x 2) a rate of
# 0.02, RetinaNet and FCOS 0.01; here for 8 images half of that. Theirs falls in two steps, ours by a cosine, and ours
# looks ahead (Nesterov). Of its sizes, 800 px is the shorter side; here it is the longer one.
_TORCHVISION_DETECTORS: dict[str, Any] = {
    "image_size": 800,
    "augment": _of_boxes(flip_x=0.5),
    "epochs": 26,
    "batch_size": 8,
    "optimiser": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}
# The pull requests that brought the second versions, vision#5763 (0.1 for 64 images) and vision#5756 (1e-4 for 16).
_FASTER_RCNN_V2: dict[str, Any] = {
    "augment": _of_boxes(flip_x=0.5, zoom=(0.1, 2.0)),
    "epochs": 400,
    "lr": 0.0125,
    "weight_decay": 4e-5,
}
_RETINANET_V2: dict[str, Any] = {
    "augment": _of_boxes(flip_x=0.5, zoom=(0.6, 1.0)),
    "optimiser": "adamw",
    "lr": 5e-5,
    "weight_decay": 0.05,
}
# The same for SSD: 0.002 for 32 images (8 x 4). Liu et al. 2016, section 2.2, make objects smaller and colours vary.
_SSD_RECIPE: dict[str, Any] = _TORCHVISION_DETECTORS | {
    "image_size": 300,
    "fit": "stretch",
    "augment": _of_boxes(
        flip_x=0.5, zoom=(0.4, 1.5), shift=0.2, brightness=0.13, contrast=0.5, saturation=0.5, hue=0.05
    ),
    "epochs": 120,
    "batch_size": 32,
    "lr": 0.002,
    "weight_decay": 5e-4,
}
# And for SSDlite: 0.15 for 192 images (8 x 24), 660 epochs; without the colours.
_SSDLITE_RECIPE: dict[str, Any] = _SSD_RECIPE | {
    "image_size": 320,
    "augment": _of_boxes(flip_x=0.5, zoom=(0.4, 1.5), shift=0.2),
    "epochs": 660,
    "lr": 0.025,
    "weight_decay": 4e-5,
}

# torchvision's references/segmentation: SGD, for 32 images (8 x 4) a rate of 0.02, here for 8 a quarter of that; crops
# of 480 px from images whose shorter side was drawn from 260 to 1040, mirrored at random; 30 epochs of COCO. Theirs
# falls by a power of 0.9, ours by a cosine, and their auxiliary head learns ten times as fast as the rest.
_TORCHVISION_MASKS: dict[str, Any] = {
    "image_size": 480,
    "augment": Policy(flip_x=0.5, zoom=(0.5, 2.0)).model_dump(),
    "epochs": 30,
    "batch_size": 8,
    "optimiser": "sgd",
    "lr": 0.005,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}

TIMM = "timm/"  # begins the names of all its models
_TORCHVISION = Entry("classify", "torchvision", "BSD-3-Clause", _torchvision_classifier)
_PLAIN = replace(_TORCHVISION, recipe=_GENTLE)  # without batch normalisation
_CLASSIC_NET = Entry("classify", "classic", "Apache-2.0", _classic, recipe=_DIGITS, published_classes=10)
_CIFAR_RESNET = Entry("classify", "classic", "Apache-2.0", _cifar_resnet, recipe=_CIFAR, published_classes=10)
_FASTER_RCNN = Entry(
    "detect",
    "torchvision",
    "BSD-3-Clause",
    _torchvision_detector,
    any_channels=False,
    published_classes=90,
    recipe=_TORCHVISION_DETECTORS,
)
_DENSE = replace(_FASTER_RCNN, published_classes=91, recipe=_TORCHVISION_DETECTORS | {"lr": 0.005})
_YOLO = Entry(
    "detect",
    "ultralytics",
    "AGPL-3.0",
    _ultralytics,
    size_multiple=32,
    extra="yolo",
    any_channels=False,
    published_classes=80,
    recipe=_YOLO_RECIPE,
)
_YOLO_P6 = replace(_YOLO, size_multiple=64)
_FCN = Entry(
    "segment",
    "torchvision",
    "BSD-3-Clause",
    _torchvision_segmenter,
    published_classes=21,
    recipe=_TORCHVISION_MASKS,
)
_SMALL_FCN = replace(_FCN, recipe=_TORCHVISION_MASKS | {"weight_decay": 1e-6})  # as theirs for MobileNetV3
_SMP = Entry("segment", "smp", "MIT", _smp("unet"), encoder="resnet34", published_classes=2)
_SMP_DECODERS = ("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus",
                 "upernet", "segformer")  # fmt: skip

MODELS: dict[str, Entry] = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), _TORCHVISION),
    **dict.fromkeys(("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"), _TORCHVISION),
    **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2"), _TORCHVISION),
    "alexnet": replace(_PLAIN, note="torchvision's, of 'One weird trick' (2014): 61,100,840 parameters"),
    **{f"vgg{depth}": _PLAIN for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _TORCHVISION for depth in (11, 13, 16, 19)},
    "googlenet": _TORCHVISION,
    "inception_v3": replace(_TORCHVISION, recipe={"image_size": 299}),
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"), _TORCHVISION),
    **{f"efficientnet_b{size}": _TORCHVISION for size in range(8)},
    **{f"efficientnet_v2_{size}": _TORCHVISION for size in "sml"},
    **{f"convnext_{size}": _TORCHVISION for size in ("tiny", "small", "base", "large")},
    f"{TIMM}NAME": Entry(
        "classify", "timm", "Apache-2.0", _timm_classifier, note="any model of timm by its name: timm/resnet10t"
    ),
    **dict.fromkeys(("mlp", "lenet5", "mnist_cnn"), _CLASSIC_NET),
    "alexnet_single_tower": replace(
        _CLASSIC_NET,
        recipe=_GENTLE | {"image_size": 227},
        published_classes=1000,
        note="of the paper of 2012, its two towers in one: 62,378,344 parameters",
    ),
    **{f"cifar_resnet{depth}": _CIFAR_RESNET for depth in (20, 32, 44, 56, 110)},
    "fasterrcnn_mobilenet_v3_large_320_fpn": replace(_FASTER_RCNN, recipe=_TORCHVISION_DETECTORS | {"image_size": 416}),
    **dict.fromkeys(("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn"), _FASTER_RCNN),
    "fasterrcnn_resnet50_fpn_v2": replace(_FASTER_RCNN, recipe=_TORCHVISION_DETECTORS | _FASTER_RCNN_V2),
    **dict.fromkeys(("retinanet_resnet50_fpn", "fcos_resnet50_fpn"), _DENSE),
    "retinanet_resnet50_fpn_v2": replace(_DENSE, recipe=_TORCHVISION_DETECTORS | _RETINANET_V2),
    "ssd300_vgg16": replace(_FASTER_RCNN, recipe=_SSD_RECIPE, note="300 px only; images without boxes teach nothing"),
    "ssdlite320_mobilenet_v3_large": replace(_FASTER_RCNN, recipe=_SSDLITE_RECIPE),
    # With "u" as ultralytics calls these two in its own form, without anchors.
    **dict.fromkeys(("yolov3u", "yolov3-tinyu", "yolov3-sppu", *(f"yolov5{size}u" for size in "nsmlx")), _YOLO),
    **{f"{version}{size}": _YOLO for version in ("yolov6", "yolov8", "yolo11", "yolo12", "yolo26") for size in "nsmlx"},
    **{f"yolov9{size}": _YOLO for size in "tsmce"},
    **{f"yolov10{size}": _YOLO for size in "nsmblx"},
    **{f"{version}{size}-p2": _YOLO for version in ("yolov8", "yolo26") for size in "nsmlx"},
    **{f"{version}{size}-p6": _YOLO_P6 for version in ("yolov8", "yolo26") for size in "nsmlx"},
    **{decoder: replace(_SMP, build=_smp(decoder)) for decoder in _SMP_DECODERS},
    "dpt": replace(
        _SMP, build=_smp("dpt"), encoder="tu-vit_base_patch16_224", note="on vision transformers of timm: dpt:tu-NAME"
    ),
    "unet_original": Entry(
        "segment",
        "classic",
        "Apache-2.0",
        _original_unet,
        recipe=_GENTLE,
        published_classes=2,
        note="of the paper of 2015, with padded convolutions: 31.0 million parameters",
    ),
    **dict.fromkeys(("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"), _FCN),
    **dict.fromkeys(("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"), _SMALL_FCN),
}
