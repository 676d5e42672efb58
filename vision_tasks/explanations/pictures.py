"""What the pictures of an explanation are put together from: tiles in a grid, and heat over an image."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vision_tasks.tasks.drawing import caption
from vision_tasks.tasks.fonts import font_of
from vision_tasks.warp import Pixels

_GROUND = (24, 24, 24)
_GAP = 4  # pixels between tiles
_TEXT = 12  # pixels
_TILE = 56  # pixels: small tiles are enlarged to about this side
_HEAT = 0.65  # of the colour, where the activation is 1


def grid(tiles: Sequence[Pixels], texts: Sequence[str], title: str, side: int = _TILE) -> Pixels:
    """Tiles [h,w,3] of any sizes with a text below each, in a square of rows, above a bar with `title`.

    All are enlarged by one whole factor, so that the largest has about `side` pixels.
    """
    most = max(max(tile.shape[:2]) for tile in tiles)
    factor = max(1, round(side / most))
    height, width = (max(tile.shape[axis] for tile in tiles) * factor + _GAP for axis in (0, 1))
    wide = max(width, *(ceil(font_of(text, _TEXT).getlength(text)) + _GAP for text in texts))
    columns = ceil(sqrt(len(tiles)))
    rows = ceil(len(tiles) / columns)
    page = Image.new("RGB", (columns * wide + _GAP, rows * (height + _TEXT + _GAP) + _GAP), _GROUND)
    pen = ImageDraw.Draw(page)
    for place, (tile, text) in enumerate(zip(tiles, texts, strict=True)):
        x, y = place % columns * wide + _GAP, place // columns * (height + _TEXT + _GAP) + _GAP
        page.paste(Image.fromarray(np.kron(tile, np.ones((factor, factor, 1), np.uint8))), (x, y))
        pen.text((x, y + height - _GAP), text, fill=(200, 200, 200), font=font_of(text, _TEXT))
    return caption(np.asarray(page), [title])


def stretched(values: NDArray[np.float32]) -> Pixels:
    """A map [h,w] in greys [h,w,3], black at its least value and white at its greatest; black if all are one."""
    low, high = float(values.min()), float(values.max())
    return grey((values - low) / (high - low if high > low else 1))


def grey(values: NDArray[np.float32]) -> Pixels:
    """[h,w] or [h,w,3] in [0, 1] as [h,w,3]."""
    pixels = np.rint(values * 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if values.ndim == 2 else pixels


def heat_on(pixels: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """The image under the colours of `heat` [H,W] in [0, 1]: the more heat, the less is seen of the image."""
    scaled = np.rint(heat * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    share = (_HEAT * heat)[..., None]
    return np.asarray(np.rint(pixels * (1 - share) + colours * share), np.uint8)
