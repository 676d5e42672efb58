"""`drawings/`: for each image a PNG that shows people what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from PIL import Image

from vision_tasks.tasks.base import Format, Output, Predicted, Write
from vision_tasks.tasks.drawing import save_picture
from vision_tasks.types import T
from vision_tasks.warp import Pixels

Draw = Callable[[Pixels, T, Output], Pixels]


def drawings(draw: Draw[T]) -> Format[T]:
    """The format whose pictures are `draw(original pixels, prediction, output)`."""
    return Format(("drawings/",), partial(_open, draw))


@contextmanager
def _open(draw: Draw[T], output: Output) -> Iterator[Write[T]]:
    def write(image: Predicted[T]) -> None:
        drawn = Image.fromarray(draw(image.pixels(), image.prediction, output))
        save_picture(output.folder / "drawings" / f"{image.image}.png", drawn)

    yield write
