"""Learning curves for TensorBoard, where it is installed; `metrics.jsonl` has the same numbers for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Scalars:
    """Writes every number of an epoch's line into RUN/tensorboard, or nothing where TensorBoard is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Add one epoch; an epoch that a resumed training repeats replaces what was written of it."""
        writer = self._open(line["epoch"])
        if writer is not None:
            for name, value in line.items():
                if isinstance(value, int | float) and name != "epoch":
                    writer.add_scalar(name, value, line["epoch"])
            writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, epoch: int) -> Any:
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return None
            self._writer = SummaryWriter(str(self._folder), purge_step=epoch)
        return self._writer
