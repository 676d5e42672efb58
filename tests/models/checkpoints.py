"""Writes checkpoints of untrained networks, for tests of what reads them."""

from pathlib import Path

from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec


def saved(folder: Path, name: str, classes: tuple[str, ...], file: str = "best.safetensors") -> Path:
    model = create_model(name, classes)
    for buffer in model.backbone.buffers():  # trained BatchNorm statistics travel, too
        buffer.add_(1)
    save_model(model, folder / file, InputSpec((64, 96), "crop"))
    return folder / file
