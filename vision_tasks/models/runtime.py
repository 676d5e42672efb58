"""What the runtimes of exported files have in common."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor

from vision_tasks.errors import UserError

Run = Callable[[Tensor], tuple[Tensor, ...]]  # float32 [B,C,H,W] -> outputs, on the CPU


class Opened(NamedTuple):
    """A file that was looked at, but whose network has not been made ready yet."""

    header: str | None  # what a file of ours says of its model
    start: Callable[[], Run]


def required(package: str, extra: str) -> Any:
    """The module `package`, or the user's error that names the extra with it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != package:
            raise
        raise UserError(f"{package} is not installed: pip install 'vision-tasks[{extra}]'") from None
