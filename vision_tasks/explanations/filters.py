"""The filters of a network's first convolution as pictures: what it looks for in the pixels themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vision_tasks.explanations.layers import Layer
from vision_tasks.explanations.pictures import grey, grid
from vision_tasks.warp import Pixels

_RGB = 3
_MOST = 256  # filters in one picture


def first_convolution(model: nn.Module, layers: dict[str, Layer]) -> str:
    """The name of the convolution among `layers` that runs first."""
    return next(name for name in layers if isinstance(model.get_submodule(name), nn.Conv2d))


def filters_picture(model: nn.Module, name: str) -> Pixels:
    """The filters of the convolution called `name`, each on a scale of its own on which middle grey is 0.

    Those of three channels have colours; of other counts, each channel is a tile in greys.
    """
    weight = model.get_submodule(name).get_parameter("weight").detach().float().cpu().numpy()
    shown = [(f"{number}{part}", tile) for number, kernel in enumerate(weight) for part, tile in _tiles(kernel)][:_MOST]
    count, channels, height, width = weight.shape
    more = f", the first {_MOST} tiles" if len(shown) == _MOST < count * _parts(channels) else ""
    title = f"{name}: {count} filters of {width}x{height}, {channels} channel{'s' * (channels > 1)}{more}"
    return grid([tile for _, tile in shown], [text for text, _ in shown], title, side=48)


def _parts(channels: int) -> int:
    return 1 if channels == _RGB else channels


def _tiles(kernel: NDArray[np.float32]) -> list[tuple[str, Pixels]]:
    """A filter [C,h,w] as one tile in colours, or one for each channel in greys, and what follows its number."""
    greatest = float(np.abs(kernel).max()) or 1.0
    scaled = 0.5 + kernel / (2 * greatest)
    if len(kernel) == _RGB:
        return [("", grey(scaled.transpose(1, 2, 0)))]
    if len(kernel) == 1:
        return [("", grey(scaled[0]))]
    return [(f".{channel}", grey(part)) for channel, part in enumerate(scaled)]
