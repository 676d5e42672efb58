"""Masks in shards (`webdataset`): `.mask.png` or `.seg.png` beside the image, or `.png` beside a `.jpg` or the like.

A mask has one channel, or a palette whose indices count: a pixel's value is its class, 255 counts nowhere. The classes
must be listed, by `dataset.json` or `classes.txt`: to find them, all that lies in the shards would have to be read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.limits import most_pixels
from vision_tasks.data.readers.mask_files import masks, require_size
from vision_tasks.data.readers.mask_legend import UNKNOWN, Entry, Legend, legend_of
from vision_tasks.data.readers.webdataset import MASKS, Stored, read_shards, reader
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError, some
from vision_tasks.types import Masks, Size

_BY_VALUE = frozenset({"1", "L", "P", "I", "I;16", "I;16B"})  # Pillow's modes


def _read(path: Path) -> Dataset[Masks]:
    shards = read_shards(path, lambda stored: _mask(stored) is not None, "mask (.mask.png)")
    if not shards.about.classes:
        raise UserError(f"{path}: nothing lists the classes; put a classes.txt (a name a line) beside the shards")
    listed = [Entry(name, value, None) for value, name in enumerate(shards.about.classes)]
    legend = legend_of(path, listed, colours=False)

    def truth(id: str, stored: Stored) -> Callable[[Size | None], Masks]:
        return partial(_truth, stored, legend)

    return shards.dataset(legend.names, truth)


def _mask(stored: Stored) -> str | None:
    """The extension of its mask."""
    return next((each for each in (*MASKS, "png") if each in stored.members and each != stored.image), None)


def _truth(stored: Stored, legend: Legend, size: Size | None) -> Masks:
    """Raises DecodeError for a mask that can't be read or is of another size, UserError for pixels of no class."""
    extension = str(_mask(stored))
    where = f"{stored.where}.{extension}"
    values = _values(stored.data(extension)(), where)
    require_size(f"its mask ({where}) is", (values.shape[0], values.shape[1]), size)
    index = cv2.LUT(values, legend.table)
    unknown = np.unique(values[index == UNKNOWN]).tolist()
    if unknown:
        raise UserError(
            f"{where}: has the values {some(map(str, unknown))}, which are none of the {len(legend.names)} classes; "
            "mend the mask or the list of classes, or use 255 for what is to be ignored"
        )
    return masks(np.asarray(index, np.uint8), len(legend.names))


def _values(data: bytes, where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            mode, small = opened.mode, opened.width * opened.height <= most_pixels()
            values: NDArray[Any] = np.asarray(opened) if small and mode in _BY_VALUE else np.zeros((1, 1), np.uint8)
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise DecodeError(f"its mask ({where}) can't be read: {error}") from error
    if not small:
        raise DecodeError(f"its mask ({where}) is larger than {most_pixels()} pixels; raise VISION_TASKS_MAX_PIXELS")
    if mode not in _BY_VALUE or values.min() < 0 or values.max() > 255:
        raise UserError(
            f"{where}: is no mask of one channel with values up to 255, the class of each pixel; store it so"
        )
    return np.ascontiguousarray(values, dtype=np.uint8)


READER = reader(_read)
