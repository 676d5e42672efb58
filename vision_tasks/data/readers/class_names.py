"""What readers share of class names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vision_tasks.errors import UserError


def composed(name: str) -> str:
    """`name` with composed accents: macOS stores the same name decomposed, and the two must be one class."""
    return unicodedata.normalize("NFC", name)


def require_distinct(where: Path, names: Iterable[str]) -> None:
    """Raises UserError if two of `names` are the same but for upper and lower case."""
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(composed(name.casefold()), name)) != name:
            raise UserError(f"{where}: the classes {other} and {name} differ in case only; merge or rename one of them")
