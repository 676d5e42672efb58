"""Masks as image files: the truth of one image by what the values, or the colours, of its pixels mean.

A mask that can't be read, or is for an image of another size, makes its image one that can't be used: it is left out
and named like an image that can't be read. Values and colours that are no class are an error: then the list of classes
is wrong, or the masks are, and one image less would help nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vision_tasks.data.readers.mask_colours import are_listed_greys, other_by_colour
from vision_tasks.data.readers.mask_legend import MOST_CLASSES, UNKNOWN, Entry, Legend, said_colour
from vision_tasks.data.readers.stored_mask import is_grey, stored_mask
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError, some
from vision_tasks.types import Masks, Size

_RGB = 0xFFFFFF
_BY_COLOUR = "--data-format colour-masks reads them by colour"


def mask_truth(path: Path, legend: Legend, size: Size | None) -> Masks:
    """The mask in `path`, B = 1, of an image of `size`, or of any size where nobody has read it.

    Raises DecodeError for a mask that can't be read or is of another size, and UserError for pixels that are no class.
    """
    values = pixel_colours(path) if legend.colours else pixel_values(path, legend.listed)
    require_size(f"its mask ({path}) is", (values.shape[0], values.shape[1]), size)
    # OpenCV's table has 256 rows and takes bytes, but is twenty times as fast there.
    index = np.take(legend.table, values) if legend.colours else cv2.LUT(values, legend.table)
    unknown = index == UNKNOWN
    if unknown.any():
        raise _no_class(path, legend, values[unknown])
    return masks(np.asarray(index, np.uint8), len(legend.names))


def masks(index: NDArray[np.uint8], num_classes: int) -> Masks:
    """Class indices [H,W] as the truth of one image."""
    return Masks(torch.from_numpy(np.ascontiguousarray(index))[None], num_classes)


def require_size(stored: str, stored_size: Size, size: Size | None) -> None:
    """Raises DecodeError if what is `stored` (in words, "its mask is") is for another size than that of its image."""
    if size and stored_size != size:
        said, seen = (f"{width}x{height}" for height, width in (stored_size, size))
        turned = ", perhaps turned by its EXIF orientation" if stored_size == size[::-1] else ""
        raise DecodeError(f"{stored} {said}, the image is {seen}{turned}; mend one of them")


def pixel_values(path: Path, listed: Sequence[Entry] = ()) -> NDArray[np.uint8]:
    """The values of a mask's only channel, or a palette's indices, [H,W]; alpha is dropped.

    Raises DecodeError if it can't be read, UserError for colours other than grey, for values beyond 255, and for a
    palette of `listed` colours that says other classes than the indices do.
    """
    mask = stored_mask(path)
    if other_by_colour(mask, listed):
        raise UserError(
            f"{path}: its palette has the class list's colours for other classes than its indices; {_BY_COLOUR}, or "
            "take the colours out of the list"
        )
    values = mask.pixels
    if values.ndim == 3:
        if values.shape[2] > 2 and not is_grey(values):
            raise UserError(
                f"{path}: has colours; a mask has one channel, the class of each pixel, or classes.csv must say "
                "name,r,g,b of every class"
            )
        values = values[..., 0]
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        raise UserError(f"{path}: has fractions as values; a mask has whole numbers, the class of each pixel")
    if values.dtype.itemsize > 1 and (values.min() < 0 or values.max() > 255):
        beyond = f"down to {values.min():.0f}" if values.min() < 0 else f"up to {values.max():.0f}"
        raise UserError(f"{path}: has values {beyond}; a mask has classes from 0 to {MOST_CLASSES - 1}, or 255")
    return np.ascontiguousarray(values, dtype=np.uint8)


def pixel_colours(path: Path) -> NDArray[np.uint32]:
    """The colours of a mask as `colour_value` packs them, [H,W]; alpha is dropped. Raises DecodeError."""
    pixels = cv2.cvtColor(
        stored_mask(path, "RGB").pixels, cv2.COLOR_RGB2RGBA
    )  # four bytes are one number, three are not
    values: NDArray[np.uint32] = pixels.view("<u4")[..., 0]
    values &= _RGB
    return values


def _no_class(path: Path, legend: Legend, values: NDArray[Any]) -> UserError:
    """The answer to `values` that the legend doesn't have, the most frequent first."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    say = said_colour if legend.colours else str
    wrong = some(f"{say(int(found[i]))} ({counts[i]} pixels)" for i in order)
    what = "colours" if legend.colours else "values"
    remedy = "name it void there" if legend.colours else "use 255"
    if are_listed_greys(found.tolist(), legend.listed):
        remedy = f"{_BY_COLOUR}, which the list has; or {remedy}"
    return UserError(
        f"{path}: has the {what} {wrong}, which are none of the {len(legend.names)} classes; mend the mask or the "
        f"class list, or {remedy} for what is to be ignored"
    )
