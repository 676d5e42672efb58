"""The page of one model: `report.html` of an evaluation or of a training, made of what the folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_tasks.engine.progress import say
from vision_tasks.files import read_lines, read_text, write_text
from vision_tasks.processes import is_first_process
from vision_tasks.report.contender import Contender
from vision_tasks.report.figures import MISSING, can_plot, library, script
from vision_tasks.report.page import Words, facts, page, paragraph, section, table, text
from vision_tasks.report.sections.confusion import confusion
from vision_tasks.report.sections.error_kinds import error_kinds
from vision_tasks.report.sections.learning_curves import learning_curves
from vision_tasks.report.sections.per_class import per_class
from vision_tasks.report.sections.pictures import Pictures
from vision_tasks.report.sections.precision_recall import precision_recall
from vision_tasks.report.sections.reliability import reliability
from vision_tasks.report.sections.scores import scores

PAGE = "report.html"

_LISTED = 50  # suspicious truths; the table beside the page has all


def write_model_page(folder: Path) -> Path | None:
    """Write `report.html` of an evaluation's or a training's folder; None, and why is said, where that can't be done.

    Only the first of the processes that train together writes. Nothing that fails here is worth a training.
    """
    if not is_first_process():
        return None
    if not can_plot():
        say(MISSING)
        return None
    try:
        write_text(folder / PAGE, model_page(folder))
    except (OSError, ValueError, LookupError, TypeError) as problem:
        say(f"{folder / PAGE} can't be written: {type(problem).__name__}: {problem}")
        return None
    say(f"wrote {folder / PAGE}")
    return folder / PAGE


def model_page(folder: Path) -> str:
    """The whole document, of `metrics.json` and `metrics.jsonl` and what lies beside them."""
    metrics, curve = _scores_of(folder), _curve_of(folder)
    model = Contender(folder.resolve().name, 0, [metrics] if metrics else [], [curve] if curve else [])
    sections: dict[str, Sequence[str]] = {
        "Scores": [scores(metrics)] if metrics else [],
        "Learning curves": learning_curves([model]),
        "Classes": per_class([model]),
        "Confusion": confusion([model]),
        "Reliability": reliability([model]),
        "Precision and recall": precision_recall([model]),
        "Kinds of error": error_kinds([model]),
        "The worst images": _worst(folder, metrics),
        "Truth that is probably wrong": _label_errors(metrics),
        "Left out": _left_out(metrics),
        "How it was made": _circumstances(folder),
    }
    body = [section(heading, parts) for heading, parts in sections.items() if parts]
    return page(
        f"{'Evaluation' if metrics else 'Training'}: {model.name}", [*_lead(metrics), *body], script(), library()
    )


def _scores_of(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    return dict(json.loads(read_text(path))) if path.exists() else {}


def _curve_of(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "metrics.jsonl")


def _lead(metrics: Mapping[str, Any]) -> list[str]:
    return [paragraph(f"{metrics['images']:,} images of {metrics['split']}.", "faint")] if metrics else []


def _worst(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    if not metrics.get("worst"):
        return []
    says = "Each of the worst images beside its truth, its prediction and where they differ"
    return [part for part in [Pictures().figure(folder / "worst.png", says, says + ".", side=2400)] if part]


def _label_errors(metrics: Mapping[str, Any]) -> list[str]:
    found = metrics.get("label_errors") or []
    header = ["image", "what", "confidence", "truth says", "predicted"]
    rows = [
        [row["image"], row["what"], f"{row['confidence']:.2f}", row["label"], row["predicted"]]
        for row in found[:_LISTED]
    ]
    caption = f"The likeliest {len(rows)} of {len(found)}; label_errors.csv has all, with their places"
    return [table(caption, header, rows)] if rows else []


def _left_out(metrics: Mapping[str, Any]) -> list[str]:
    rows = [[row["path"], Words(row["reason"])] for row in metrics.get("failed", ())]
    return [table("Files that could not be read", ["file", "reason"], rows)] if rows else []


def _circumstances(folder: Path) -> list[str]:
    """The environment and the settings of a training."""
    parts = []
    about, settings = folder / "environment.json", folder / "config.toml"
    if about.exists():
        found = json.loads(read_text(about))
        versions = ", ".join(f"{name} {version}" for name, version in found.pop("versions", {}).items())
        parts.append(facts([*found.items(), ("versions", versions)]))
    if settings.exists():
        parts.append(f"<details><summary>All settings</summary>\n<pre>{text(read_text(settings))}</pre>\n</details>")
    return parts
