"""Whether masks are meant by their values or by their colours, where a file alone doesn't tell.

- Several channels that differ are colours. Grey in several channels is one if the class list gives colours.
- A palette is meant by its colours if the list has all that occur and they are other classes than the indices would be:
  programs that reduce RGB to a palette number its colours as they like.
- Grey of one channel is a colour if the list has every value as one, and not every value as a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vision_tasks.data.readers.mask_legend import VOID_NAMES, Entry, colour_value, read_class_list
from vision_tasks.data.readers.stored_mask import Stored, is_grey, stored_mask
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE

_NO_COLOUR, _BLACK = -1, 0
_LOOKED_AT = 4  # masks; the first may be all background, which is grey


class _Pixel(NamedTuple):
    """What occurs in a mask of one channel."""

    value: int
    colour: int  # by `colour_value`
    grey: bool  # not out of a palette


def are_coloured(masks: Iterable[Path], names: Path | None) -> bool:
    """Whether masks are to be read by their colours, as the first few of them and the class list `names` say.

    Those that can't be read say nothing.
    """
    listed = [entry for entry in read_class_list(names) if entry.colour is not None] if names else []
    pixels: set[_Pixel] = set()
    for path in islice(masks, _LOOKED_AT):
        try:
            mask = stored_mask(path)
        except (DecodeError, UserError):
            continue
        if _has_channels(mask):
            if listed or not is_grey(mask.pixels):
                return True
        elif listed:
            pixels |= _pixels(mask)
    return _are_colours(pixels, listed)


def other_by_colour(mask: Stored, listed: Sequence[Entry]) -> bool:
    """Whether a mask's palette is one of `listed` colours alone, and says other classes than its indices do."""
    if mask.palette is None or not listed:
        return False
    listed_or_filled_up = {_BLACK, *(entry.colour for entry in listed)}
    return listed_or_filled_up.issuperset(mask.palette.tolist()) and _are_colours(_pixels(mask), listed)


def are_listed_greys(values: Iterable[int], listed: Iterable[Entry]) -> bool:
    """Whether all of these values are greys in a list of classes."""
    return {colour_value(value, value, value) for value in values} <= {entry.colour for entry in listed}


def _has_channels(mask: Stored) -> bool:
    return mask.pixels.ndim == 3 and mask.pixels.shape[2] > 2


def _pixels(mask: Stored) -> set[_Pixel]:
    """What occurs in a mask of one channel; nothing of values that are no colours."""
    values = mask.pixels if mask.pixels.ndim == 2 else mask.pixels[..., 0]
    if values.dtype != np.uint8:
        return set()
    seen = np.flatnonzero(cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256])).tolist()
    if mask.palette is None:
        return {_Pixel(value, colour_value(value, value, value), True) for value in seen}
    colours = dict(enumerate(mask.palette.tolist()))
    return {_Pixel(value, colours.get(value, _NO_COLOUR), False) for value in seen}


def _are_colours(pixels: Iterable[_Pixel], listed: Sequence[Entry]) -> bool:
    """Whether the class list has the colours of all `pixels`, and some of them as other classes than their values."""
    own = {entry.value: entry.colour for entry in listed}
    void = {entry.colour for entry in listed if entry.name.casefold() in VOID_NAMES}
    named = {entry.colour for entry in listed}
    alike = (
        own.get(pixel.value) == pixel.colour
        or (pixel.value == IGNORE and (pixel.colour in void or not pixel.grey))  # black as often as not
        or (pixel.grey and pixel.value in own)
        for pixel in pixels
    )
    return not all(alike) and all(pixel.colour in named for pixel in pixels)
