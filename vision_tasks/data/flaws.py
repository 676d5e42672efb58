"""What is wrong with a user's files: told by kinds, so that nobody has to scroll; listed, so that nothing is silent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_tasks.files import write_text

_LISTED = "flaws.txt"


@dataclass(frozen=True)
class Flaw:
    """Something in a user's files that was dropped, clipped or looks wrong; nothing of the kind is silent."""

    path: Path
    what: str
    of_truth: bool = False  # whether what is scored differs from the file


def in_short(flaws: Sequence[Flaw], classes: Sequence[str]) -> list[str]:
    """A line for each kind: its first flaw, and how many more there are; changes of truth first."""
    kinds: dict[str, list[Flaw]] = {}
    for flaw in sorted(flaws, key=lambda flaw: not flaw.of_truth):
        kinds.setdefault(_kind(flaw.what, classes), []).append(flaw)
    return [_line(first) + (f" (and {len(others)} like it)" if others else "") for first, *others in kinds.values()]


def write_flaws(folder: Path, flaws: Sequence[Flaw]) -> None:
    """`flaws.txt` in `folder`, if there are any: a line for each, in their order, `PATH: WHAT`."""
    if flaws:
        write_text(folder / _LISTED, "".join(_line(flaw) + "\n" for flaw in flaws))


def _line(flaw: Flaw) -> str:
    return f"{flaw.path}: {flaw.what}"


def _kind(what: str, classes: Sequence[str]) -> str:
    """The words of `what` without those of the single case: what is in brackets or quotes, numbers, names."""
    general = re.sub(r"\([^()]*\)|'[^']*'|\"[^\"]*\"", " ", what)
    words = re.findall(r"[^\s,;:]+", general)
    return " ".join(word for word in words if word not in classes and not re.search(r"[\d/\\.]", word))
