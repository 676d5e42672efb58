"""The folder of one training: what is in it, and how it is written so that a crash never leaves half a file."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from vision_tasks.errors import UserError
from vision_tasks.files import alone_in, append_text, read_text, write_text
from vision_tasks.types import Failure


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run; see CLI documentation for what each holds."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "last.state"

    def require_new(self) -> None:
        """A folder that already holds a run is the user's error: no run is overwritten."""
        if self.config.exists():
            raise UserError(
                f"{self.path} already holds a run; continue it with --resume {self.path}, or give another --out"
            )

    def create(self) -> None:
        """Make the folder, which must be new."""
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the run folder {self.path}: {error.strerror}") from error

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else trains into the folder meanwhile. Raises UserError if somebody does."""
        return alone_in(self.path, f"another process is training into {self.path}; wait for it, or stop it")

    def precision(self) -> str:
        """The precision that the run began in."""
        try:
            return str(json.loads(read_text(self.path / "environment.json"))["precision"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"cannot resume from {self.path}: environment.json cannot be read: {error}") from error

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        append_text(self.metrics, dumps(line) + "\n")

    def keep_metrics_before(self, epoch: int) -> None:
        """Drop lines of epochs that a resumed training will run again."""
        if self.metrics.exists():
            lines = read_text(self.metrics).splitlines()
            kept = [line for line in lines if _epoch_of(line) < epoch]
            write_text(self.metrics, "".join(line + "\n" for line in kept))

    def read_failures(self) -> list[Failure]:
        """What `write_failures` wrote; nothing if it never did."""
        path = self.path / "failures.jsonl"
        rows = map(json.loads, read_text(path).splitlines()) if path.exists() else ()
        return [Failure(row["id"], Path(row["path"]), row["reason"]) for row in rows]

    def write_failures(self, failures: Iterable[Failure]) -> None:
        lines = [dumps({"id": failure.id, "path": str(failure.path), "reason": failure.reason}) for failure in failures]
        write_text(self.path / "failures.jsonl", "".join(line + "\n" for line in lines))


def _epoch_of(line: str) -> float:
    """The epoch of a line of metrics; beyond all where the line was torn by a crash."""
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def next_free(parent: Path, name: str) -> Path:
    """`parent/name`, or with the first number that makes it new."""
    path, number = parent / name, 2
    while path.exists():
        path, number = parent / f"{name}-{number}", number + 1
    return path


def dumps(value: Any) -> str:
    """JSON that every reader accepts: undefined numbers are null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def environment(device: str, precision: str) -> dict[str, Any]:
    """What a result depends on besides configuration and data."""
    return {
        "device": device,
        "precision": precision,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of this project and of the packages that it names, as far as they are installed."""
    with suppress(PackageNotFoundError):
        named = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requires("vision-tasks") or []]
        return {name: found for name in ("vision-tasks", *named) if (found := _version(name))}
    return {}


def _version(name: str) -> str:
    with suppress(PackageNotFoundError):
        return version(name)
    return ""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
