"""`masks/`: for each image a PNG of its size whose values are class indices, with the classes' colours as palette.

255, which is grey, is of no class: what the network did not see, as where an image was cropped onto the canvas.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.tasks.base import Output, Picture, Predicted
from vision_tasks.tasks.drawing import save_mask
from vision_tasks.types import Masks


def _write(image: Predicted[Masks], output: Output, path: Path) -> None:
    save_mask(path, image.prediction.index[0].numpy(), len(output.classes))


MASKS: Picture[Masks] = Picture("masks", _write)
