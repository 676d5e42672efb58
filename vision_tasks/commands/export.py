"""`vision-tasks export`: a checkpoint as one file for another engine."""

from __future__ import annotations

from pathlib import Path

from vision_tasks.engine.export import export_model
from vision_tasks.engine.progress import downloading, say
from vision_tasks.models.checkpoint import load_model


def export(*, weights: Path | str, to: str, out: Path | str) -> Path:
    """Write the model of `weights` (run, file or card) into `out`, as `onnx`, `openvino` or `torch`.

    The file knows its classes, canvas, fit and thresholds: `predict` and `evaluate` take it as `weights`. It was
    compared with the network on random images before it was put there. Raises UserError.
    """
    with downloading() as report:
        model, card = load_model(weights, report)
    difference = export_model(model, card, to, Path(out))
    height, width = card.input.canvas
    say(f"wrote {out}: {card.name} for images on {width}x{height}, {len(card.classes)} classes; greatest difference of "
        f"an output from the network's on random images: {difference:.2g}")  # fmt: skip
    return Path(out)
