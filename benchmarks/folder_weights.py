"""Weights for the comparison of folder inference: trained for minutes, so that predictions are those of real networks.

Each is one file that both sides read: of ultralytics' network a `.pt`, of the others tensors with our header.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.detect_ultralytics import stay_offline

NETWORK = "net."  # what the names of a network's own tensors begin with in our files


@dataclass(frozen=True)
class Recipe:
    """A short training, on data that lies in the data root: all but its last epochs on a smaller canvas."""

    task: str
    model: str
    data: str
    side: int
    smaller: int
    epochs: int
    options: dict[str, Any]
    last: int = 1


RECIPES = {
    "yolo": Recipe("detect", "yolo11n", "detect-bccd-voc", 640, 320, 19, {"batch_size": 8}, last=8),
    "faster_rcnn": Recipe(
        "detect",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "detect-bccd-voc",
        640,
        320,
        6,
        {"batch_size": 4, "augment": "light"},
    ),
    "resnet50": Recipe(
        "classify", "resnet50", "classify-eurosat-rgb", 224, 64, 12, {"batch_size": 32, "lr": 3e-4, "augment": "light"}
    ),
    "unet": Recipe("segment", "unet:resnet34", "segment-nuclei-dsb2018", 256, 128, 6, {"batch_size": 8}),
}


def prepared(name: str, root: Path, work: Path) -> Path:
    """The weights of one recipe; those that lie in `work` from an earlier call are taken."""
    recipe = RECIPES[name]
    digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:6]  # weights of another recipe are not taken
    smaller, whole = (work / "runs" / f"{name}-{side}-{digest}" for side in (recipe.smaller, recipe.side))
    last = "last.safetensors"
    if not (whole / last).exists():
        if not (smaller / last).exists():
            _train(recipe, root, smaller, recipe.smaller, recipe.epochs - recipe.last)
        _train(recipe, root, whole, recipe.side, recipe.last, weights=str(smaller / last))
    return as_ultralytics(whole / last, work / "settings") if name == "yolo" else whole / last


def _train(recipe: Recipe, root: Path, run: Path, side: int, epochs: int, **more: Any) -> None:
    """Validated at its end only: nobody chooses among its epochs."""
    from vision_tasks import train

    settings = {"validate_every": epochs} | recipe.options | more
    train(recipe.task, data=root / recipe.data, model=recipe.model, image_size=side, epochs=epochs, device="cpu",
          out=run, **settings)  # fmt: skip


def as_ultralytics(weights: Path, settings: Path) -> Path:
    """The same network as ultralytics stores it, beside `weights`; `settings` is a folder for its own."""
    out = weights.with_suffix(".pt")
    if out.exists():
        return out
    stay_offline(settings)
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    from vision_tasks.models.checkpoint import load_model

    model, card = load_model(weights)
    yolo = YOLO(f"{card.name}.yaml")
    net = DetectionModel(f"{card.name}.yaml", nc=len(card.classes), verbose=False)
    tensors = model.state_dict()
    net.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items()})
    net.names = dict(enumerate(card.classes))
    net.args = {"imgsz": card.input.canvas[0], "task": "detect"}
    yolo.model = net
    yolo.overrides |= net.args
    yolo.save(out)
    return out
