"""What readers share of classes: lists of names, the rules that they keep, and the truth of whole images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from vision_tasks.errors import UserError, some
from vision_tasks.types import Labels, Size


def composed(name: str) -> str:
    """`name` with composed accents: macOS stores the same name decomposed, and the two must be one class."""
    return unicodedata.normalize("NFC", name)


def require_classes(where: Path, names: Collection[str], case_matters: bool = False) -> None:
    """Raises UserError for fewer than two classes, and for two of the same name, in upper and lower case alike."""
    if len(names) < 2:
        said = f"{some(names)} is the only class" if names else "there is no class"
        raise UserError(f"{where}: {said}; classification needs two or more")
    seen: dict[str, str] = {}
    for name in names:
        key = composed(name if case_matters else name.casefold())
        if key in seen:
            same = "have the same name" if seen[key] == name else "differ in case only"
            raise UserError(f"{where}: the classes {seen[key]} and {name} {same}; merge or rename one of them")
        seen[key] = name


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


def whole_image_truth(labels: Collection[int], num_classes: int, size: Size | None) -> Labels:
    """Several-hot labels [1,K] of an image, whatever its size."""
    weight = np.zeros((1, num_classes), np.float32)  # a third of the time that torch takes for so few numbers
    weight[0, list(labels)] = 1
    return Labels(torch.from_numpy(weight))
