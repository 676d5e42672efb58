"""`masks/`: for each image a PNG of its size whose values are class indices, with the classes' colours as palette.

255, which is grey, is of no class: what the network did not see, as where an image was cropped onto the canvas.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vision_tasks.tasks.base import Format, Output, Predicted, Write
from vision_tasks.tasks.drawing import save_mask
from vision_tasks.types import Masks


def mask_name(image: str) -> str:
    """The file of an image's mask, relative to the output's folder."""
    return f"masks/{image}.png"


@contextmanager
def _open(output: Output) -> Iterator[Write[Masks]]:
    def write(image: Predicted[Masks]) -> None:
        save_mask(output.folder / mask_name(image.image), image.prediction.index[0].numpy(), len(output.classes))

    yield write


MASKS: Format[Masks] = Format(("masks/",), _open)
