"""What the peers of folder inference share: options, the order of files, and rows in the form of our own."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, object]


def options(description: str | None, image_size: int, batch_size: int) -> argparse.ArgumentParser:
    """A parser with the options that all have."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=image_size)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    return parser


def files(folder: Path) -> list[Path]:
    """The images, in the order of their names."""
    return sorted(folder.iterdir())


def write(out: Path, rows: Iterable[tuple[Path, list[Row]]]) -> None:
    """A line an image."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "predictions.jsonl").open("w") as file:
        for path, predictions in rows:
            file.write(json.dumps({"image": path.name, "predictions": predictions}) + "\n")
