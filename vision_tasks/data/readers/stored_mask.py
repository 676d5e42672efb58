"""A mask's file as it is stored: the numbers in it, and its palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vision_tasks.data.limits import most_pixels
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError

_MODES = frozenset({"1", "L", "LA", "P", "PA", "I", "F", "RGB", "RGBA", "RGBX"})  # of Pillow; I;16 and its like too


class Stored(NamedTuple):
    """What a file holds."""

    pixels: NDArray[Any]  # [H,W] or [H,W,C]; of a palette its indices
    palette: NDArray[np.uint32] | None  # colours by `colour_value`, as many as there are; None without a palette


def stored_mask(path: Path, mode: str | None = None) -> Stored:
    """The mask in a file, perhaps converted to one of Pillow's modes.

    Raises DecodeError if it can't be read, UserError for a kind of colours that is no class of anything.
    """
    most = most_pixels()
    try:
        # Pillow and not OpenCV, which turns palettes into colours.
        with Image.open(path) as opened:
            kind, small = opened.mode, opened.width * opened.height <= most
            if small and _is_known(kind):
                pixels = np.asarray(opened if mode is None else opened.convert(mode))
                return Stored(pixels, _palette(opened) if mode is None else None)
    except UnidentifiedImageError as error:
        raise DecodeError(f"its mask ({path}) can't be read: it is no image, or of an unknown format") from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise DecodeError(f"its mask ({path}) can't be read: {error}") from error
    if small:
        raise UserError(f"{path}: is stored as {kind}; a mask has one channel, a palette, RGB or RGBA: store it so")
    raise DecodeError(f"its mask ({path}) is larger than {most} pixels; raise VISION_TASKS_MAX_PIXELS for it")


def is_grey(pixels: NDArray[Any]) -> bool:
    """Whether the first three channels of [H,W,C] are the same."""
    red = pixels[..., 0]
    return bool((red == pixels[..., 1]).all() and (red == pixels[..., 2]).all())


def _is_known(mode: str) -> bool:
    return mode in _MODES or mode.startswith("I;")


def _palette(opened: Image.Image) -> NDArray[np.uint32] | None:
    if opened.mode not in ("P", "PA"):
        return None
    red, green, blue = np.array(opened.getpalette("RGB"), np.uint32).reshape(-1, 3).T
    colours: NDArray[np.uint32] = red | green << np.uint32(8) | blue << np.uint32(16)
    return colours
