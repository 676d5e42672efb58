"""`drawings/`: for each image a PNG that shows people what was predicted.

Names of classes that no font here can write are drawn as `class 7`, by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from PIL import Image

from vision_tasks.tasks.base import Output, Picture, Predicted
from vision_tasks.tasks.drawing import save_picture
from vision_tasks.tasks.fonts import drawable
from vision_tasks.types import T
from vision_tasks.warp import Pixels

Draw = Callable[[Pixels, T, Output], Pixels]


def drawings(draw: Draw[T]) -> Picture[T]:
    """The format whose pictures are `draw(original pixels, prediction, output)`."""
    return Picture("drawings", partial(_write, draw))


def _write(draw: Draw[T], image: Predicted[T], output: Output, path: Path) -> None:
    prediction = image.prediction if image.drawn is None else image.drawn
    shown = replace(output, classes=_drawable(output.classes))
    save_picture(path, Image.fromarray(draw(image.pixels(), prediction, shown)))


@cache
def _drawable(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Looked up once, not for every image."""
    return drawable(classes)
