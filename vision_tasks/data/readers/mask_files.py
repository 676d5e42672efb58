"""Masks as image files: the truth of one image by what the values, or the colours, of its pixels mean.

A mask that can't be read, or is for an image of another size, makes its image one that can't be used: it is left out
and named like an image that can't be read. Values and colours that are no class are an error: then the list of classes
is wrong, or the masks are, and one image less would help nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vision_tasks.data.limits import most_pixels
from vision_tasks.data.readers.mask_legend import MOST_CLASSES, UNKNOWN, Legend, read_class_list, said_colour
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError, some
from vision_tasks.types import Masks, Size

_RGB = 0xFFFFFF
_LOOKED_AT = 4  # masks, for colours; the first may be all background, which is grey


def mask_truth(path: Path, legend: Legend, size: Size | None) -> Masks:
    """The mask in `path`, B = 1, of an image of `size`, or of any size where nobody has read it.

    Raises DecodeError for a mask that can't be read or is of another size, and UserError for pixels that are no class.
    """
    values = pixel_colours(path) if legend.colours else pixel_values(path)
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


def pixel_values(path: Path) -> NDArray[np.uint8]:
    """The values of a mask's only channel, or a palette's indices, [H,W]; alpha is dropped.

    Raises DecodeError if it can't be read, UserError for colours other than grey and for values beyond 255.
    """
    values = _stored(path)
    if values.ndim == 3:
        if values.shape[2] > 2 and not _is_grey(values):
            raise UserError(
                f"{path}: has colours; a mask has one channel, the class of each pixel, or classes.csv must say "
                "name,r,g,b of every class"
            )
        values = values[..., 0]
    if values.dtype.kind == "f":
        raise UserError(f"{path}: has fractions as values; a mask has whole numbers, the class of each pixel")
    if values.dtype.itemsize > 1 and values.size and (values.min() < 0 or values.max() > 255):
        raise UserError(f"{path}: has values up to {values.max()}; a mask has classes up to {MOST_CLASSES - 1}, or 255")
    return np.ascontiguousarray(values, dtype=np.uint8)


def pixel_colours(path: Path) -> NDArray[np.uint32]:
    """The colours of a mask as `colour_value` packs them, [H,W]; alpha is dropped. Raises DecodeError."""
    pixels = cv2.cvtColor(_stored(path, "RGB"), cv2.COLOR_RGB2RGBA)  # four bytes are one number, three are not
    values: NDArray[np.uint32] = pixels.view("<u4")[..., 0]
    values &= _RGB
    return values


def are_coloured(masks: Iterable[Path], names: Path | None) -> bool:
    """Whether masks are to be read by their colours, as the first few of them say.

    They are if they have colours other than grey, and grey in several channels is one if the class list `names` gives
    colours. Those that can't be read say nothing.
    """
    explained = names is not None and any(entry.colour is not None for entry in read_class_list(names))
    return any(_is_coloured(mask, explained) for mask in islice(masks, _LOOKED_AT))


def _is_coloured(path: Path, grey_too: bool) -> bool:
    try:
        values = _stored(path)
    except DecodeError:
        return False
    return values.ndim == 3 and values.shape[2] > 2 and (grey_too or not _is_grey(values))


def _is_grey(pixels: NDArray[Any]) -> bool:
    red = pixels[..., 0]
    return bool((red == pixels[..., 1]).all() and (red == pixels[..., 2]).all())


def _stored(path: Path, mode: str | None = None) -> NDArray[Any]:
    """The pixels of a file as they are, or converted to one of Pillow's modes."""
    most = most_pixels()
    try:
        # Pillow and not OpenCV, which turns palettes into colours.
        with Image.open(path) as opened:
            if opened.width * opened.height <= most:
                return np.asarray(opened if mode is None else opened.convert(mode))
    except UnidentifiedImageError as error:
        raise DecodeError(f"its mask ({path}) can't be read: it is no image, or of an unknown format") from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise DecodeError(f"its mask ({path}) can't be read: {error}") from error
    raise DecodeError(f"its mask ({path}) is larger than {most} pixels; raise VISION_TASKS_MAX_PIXELS for it")


def _no_class(path: Path, legend: Legend, values: NDArray[Any]) -> UserError:
    """The answer to `values` that the legend doesn't have, the most frequent first."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    say = said_colour if legend.colours else str
    wrong = some(f"{say(int(found[i]))} ({counts[i]} pixels)" for i in order)
    what = "colours" if legend.colours else "values"
    remedy = "name it void there" if legend.colours else "use 255"
    return UserError(
        f"{path}: has the {what} {wrong}, which are none of the {len(legend.names)} classes; mend the mask or the "
        f"class list, or {remedy} for what is to be ignored"
    )
