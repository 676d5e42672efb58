"""`drawings/`: for each image a PNG that shows people what was predicted.

Names of classes that no font here can write are drawn as `class 7`, by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from PIL import Image

from vision_tasks.tasks.base import Format, Output, Predicted, Write
from vision_tasks.tasks.drawing import save_picture
from vision_tasks.tasks.fonts import drawable
from vision_tasks.types import T
from vision_tasks.warp import Pixels

Draw = Callable[[Pixels, T, Output], Pixels]


def drawings(draw: Draw[T]) -> Format[T]:
    """The format whose pictures are `draw(original pixels, prediction, output)`."""
    return Format(("drawings/",), partial(_open, draw))


@contextmanager
def _open(draw: Draw[T], output: Output) -> Iterator[Write[T]]:
    shown = replace(output, classes=drawable(output.classes))

    def write(image: Predicted[T]) -> None:
        prediction = image.prediction if image.drawn is None else image.drawn
        drawn = Image.fromarray(draw(image.pixels(), prediction, shown))
        save_picture(output.folder / "drawings" / f"{image.image}.png", drawn)

    yield write
