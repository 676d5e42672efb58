"""The folder of a benchmark: what lies where, and what of it says that a part is done, or has failed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_tasks.benchmarking.plan import Contender
from vision_tasks.engine.run_folder import dumps
from vision_tasks.files import read_text, write_text


@dataclass(frozen=True)
class Part:
    """What one process does; its folder holds `log.txt`, then `done.json` or `failed.json`."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def done(self) -> Any:
        """What it left behind; None as long as it is not done."""
        return _json(self.folder / "done.json")

    @property
    def error(self) -> str:
        """Why it failed; empty unless it did."""
        return str((_json(self.folder / "failed.json") or {"error": ""})["error"])

    @property
    def is_over(self) -> bool:
        return (self.folder / "done.json").exists() or (self.folder / "failed.json").exists()

    def finish(self, found: Any) -> None:
        write_text(self.folder / "done.json", dumps(found) + "\n")

    def fail(self, error: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "failed.json", dumps({"error": error}) + "\n")

    def forget_failure(self) -> None:
        (self.folder / "failed.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class Layout:
    """The folder, by its parts."""

    path: Path

    def run(self, contender: Contender, seed: int | None) -> Part:
        """A training, its scores and their evidence."""
        return Part(self.path / "runs" / (contender.slug if seed is None else f"{contender.slug}--seed{seed}"))

    def checkpoint(self, contender: Contender) -> Path:
        """Whose costs are measured: of several seeds the first that is done."""
        if contender.weights:
            return Path(contender.weights)
        parts = [self.run(contender, seed) for seed in contender.seeds]
        return next(part.folder for part in parts if part.done is not None)

    def footprint(self, contender: Contender, device: str, engine: str) -> Part:
        """Memory, and which batch size is the fastest."""
        return Part(self.path / "costs" / f"{contender.slug}--{device}--{engine}")

    def export(self, contender: Contender, engine: str) -> Part:
        """The file that an engine reads, made by a process whose memory nobody measures."""
        return Part(self.path / "costs" / f"{contender.slug}--{engine}--export")

    @property
    def clock(self) -> Part:
        """All times."""
        return Part(self.path / "costs" / "clock")

    @property
    def gallery(self) -> Part:
        """Pictures."""
        return Part(self.path / "gallery")

    def trial(self, contender: Contender) -> Path:
        """How many epochs fit into minutes."""
        return self.path / "trials" / contender.slug


def _json(path: Path) -> Any:
    return json.loads(read_text(path)) if path.exists() else None
