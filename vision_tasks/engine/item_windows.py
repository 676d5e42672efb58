"""Images of sources, read region by region: files from the disk, what is in other files or in videos from memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from vision_tasks.data.decode import decode
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.data.windows import Windows, longest_side, open_windows, turned
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.sources import Item
from vision_tasks.engine.sources.item import digest
from vision_tasks.engine.store import Version
from vision_tasks.types import Bands, Region
from vision_tasks.warp import Pixels


def is_larger(item: Item, side: int) -> bool:
    """Whether an image has a longer side; one that can't be read has none, and whoever decodes it says why."""
    if item.pixels is None and item.member is None:
        return longest_side(item.path) > side
    try:
        if item.pixels is not None:
            return bool(max(item.pixels().shape[:2]) > side)
        with Image.open(io.BytesIO(item.read())) as image:
            return max(image.size) > side
    except Exception:  # damaged headers raise many kinds
        return False


@contextmanager
def open_item(reading: Reading, bands: Bands | None) -> Iterator[Windows]:
    """Open an image, whose hash is then known. Raises DecodeError, at the end if the file was replaced meanwhile."""
    item = reading.item
    if item.pixels is None and item.member is None:
        reading.sha256 = item.sha256()
        with open_windows(item.path, bands) as image:
            yield image
        status = item.path.stat()
        if Version(status.st_size, status.st_mtime_ns) != item.version:
            raise DecodeError("was replaced while it was read; the next call reads it anew")
    else:
        yield _in_memory(reading, bands)


def _in_memory(reading: Reading, bands: Bands | None) -> Windows:
    item = reading.item
    if item.pixels is not None:
        pixels = item.pixels()
        reading.sha256 = digest(pixels.data)
    else:
        data = item.read()
        reading.sha256 = digest(data)
        pixels = turned(decode(data, bands=bands))

    def read(region: Region) -> Pixels:
        x0, y0, x1, y1 = region
        return np.ascontiguousarray(pixels[y0:y1, x0:x1])

    return Windows((pixels.shape[0], pixels.shape[1]), read, "it is in another file")
