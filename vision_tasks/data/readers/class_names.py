"""What readers share of class names: lists of them, and the rules that they keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
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


def require_images(where: Path, classes: Iterable[str], seen: Collection[str]) -> None:
    """Raises UserError for the first of `classes` that isn't among those `seen` in what is trained on."""
    for name in classes:
        if name not in seen:
            raise UserError(f"{where}: class '{name}' has no images to train on; add some or remove the class")


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without spaces around them, empty ones and comments. Raises UserError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as such") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def numbered(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Lines as (value, name): `0 Sky` where all have a value, else they are counted from 0."""
    found = [re.fullmatch(r"(\d+)[\s,:;]+(.+)", line) for line in lines]
    values = [(int(match[1]), match[2]) for match in found if match]
    return values if len(values) == len(lines) else list(enumerate(lines))
