"""Pictures and tables from result records; reads records, computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

Writer = Callable[[Path, Any, Sequence[str]], list[Path]]  # (folder, value of the key, classes) -> files it wrote

# What writes a key of `metrics.json` in other forms: module and function, imported when there is something to write.
WRITERS: Mapping[str, tuple[str, str]] = {
    "confusion": ("confusion", "write_confusion"),
    "curves": ("curves", "write_curves"),
    "label_errors": ("label_errors", "write_label_errors"),
    "reliability": ("reliability", "write_reliability"),
}


def write_report(folder: Path, metrics: Mapping[str, Any], classes: Sequence[str]) -> list[Path]:
    """Write every picture and table of `metrics` into `folder`; returns their paths."""
    written: list[Path] = []
    for key, (module, name) in WRITERS.items():
        if key in metrics:
            writer: Writer = getattr(import_module(f"{__name__}.{module}"), name)
            written += writer(folder, metrics[key], classes)
    return written
