"""Every model by its name, and what a user should know of it before it is built.

A name is `head` or `head:encoder` (`unet:resnet18`); the part behind the colon goes to the family's builder. Nothing of
a third party is imported before a model of its family is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import ModelInfo, TaskModel

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


def create_model(
    name: str,
    classes: Sequence[str],
    weights: Path | str | None = None,
    *,
    channels: int = 3,
    exclusive: bool = True,
) -> TaskModel[Any]:
    """Build a model for `classes`, in that order; untrained, or started from a checkpoint of this project.

    `channels` are those of its images; not `exclusive` means that an image may have several classes at once.

    Raises UserError for unknown names, a missing extra, empty or repeated classes.
    """
    entry, full_name, encoder = _resolve(name)
    _check_classes(classes)
    info = ModelInfo(
        full_name,
        entry.family,
        tuple(classes),
        entry.size_multiple,
        entry.code_licence,
        channels=channels,
        exclusive=exclusive,
    )
    try:
        model = entry.build(info, encoder)
    except ModuleNotFoundError as missing:
        if not entry.extra:
            raise
        remedy = f'pip install "vision-tasks[{entry.extra}]" ({entry.code_licence})'
        raise UserError(f"model '{name}' needs {missing.name}: {remedy}") from None
    if weights is not None:
        from vision_tasks.models.checkpoint import start_from

        start_from(model, weights)
    return model


def model_names(task: str | None = None) -> tuple[str, ...]:
    """All names, or those of a task; `head` stands for every `head:encoder`."""
    tasks = {entry.task for entry in MODELS.values()}
    if task is not None and task not in tasks:
        raise unknown_name("task", task, tasks)
    return tuple(name for name, entry in MODELS.items() if task in (None, entry.task))


def model_entry(name: str) -> Entry:
    """The entry behind `head` or `head:encoder`."""
    return _resolve(name)[0]


def _resolve(name: str) -> tuple[Entry, str, str]:
    """The entry, the full name and the encoder behind a name."""
    head, colon, encoder = name.partition(":")
    entry = MODELS.get(head)
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


def _torchvision_classifier(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.torchvision_classifiers import TorchvisionClassifier

    return TorchvisionClassifier(info)


def _torchvision_detector(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.torchvision_detectors import TorchvisionDetector

    return TorchvisionDetector(info)


def _ultralytics(info: ModelInfo, encoder: str) -> TaskModel[Any]:
    from vision_tasks.models.ultralytics_yolo import UltralyticsYolo

    return UltralyticsYolo(info)


def _smp(arch: str) -> Build:
    def build(info: ModelInfo, encoder: str) -> TaskModel[Any]:
        from vision_tasks.models.smp import SmpSegmenter

        return SmpSegmenter(info, arch, encoder)

    return build


_RESNET = Entry("classify", "torchvision", "BSD-3-Clause", _torchvision_classifier)
_FASTER_RCNN = Entry("detect", "torchvision", "BSD-3-Clause", _torchvision_detector)
_YOLO = Entry("detect", "ultralytics", "AGPL-3.0", _ultralytics, size_multiple=32, extra="yolo")

MODELS: dict[str, Entry] = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), _RESNET),
    "fasterrcnn_mobilenet_v3_large_320_fpn": _FASTER_RCNN,
    "fasterrcnn_mobilenet_v3_large_fpn": _FASTER_RCNN,
    "fasterrcnn_resnet50_fpn": _FASTER_RCNN,
    **{f"{version}{size}": _YOLO for version in ("yolov8", "yolo11", "yolo26") for size in "nsmlx"},
    "unet": Entry("segment", "smp", "MIT", _smp("unet"), encoder="resnet34"),
}
