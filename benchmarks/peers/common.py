"""The options and the record that every peer script shares; the work itself stays in each script."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path


def options(description: str, image_size: int, batch_size: int) -> argparse.ArgumentParser:
    """A parser with the options all peer scripts have; sizes are the defaults of the task."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=image_size)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--max-batches", type=int, default=0, help="end each epoch after so many batches; 0 = never")
    parser.add_argument("--json", type=Path, required=True, help="where the record goes")
    return parser


def rates(epoch: Callable[[], int], epochs: int) -> list[float]:
    """Images/s of each epoch; `epoch` trains one and returns how many images it saw."""
    measured = []
    for number in range(epochs):
        start = time.perf_counter()
        images = epoch()
        measured.append(images / (time.perf_counter() - start))
        print(f"epoch {number}: {measured[-1]:.1f} images/s", flush=True)
    return measured


def write(path: Path, images_per_second: list[float]) -> None:
    """Leave the record where the harness looks for it; the reader drops the first epoch as warm-up."""
    path.write_text(json.dumps({"images_per_second": images_per_second}))
