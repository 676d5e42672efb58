"""Images read region by region: from the file where its layout allows it, else from the whole decoded image.

From the file: TIFFs of grey or RGB of 8 or 16 bits, of JPEG, and of chosen bands, in tiles or strips, that need no
turning (the extra `geo`). Of all others the whole image is in memory, and may have no more than `most_pixels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vision_tasks.data.bands import Limits, to_bytes
from vision_tasks.data.decode import Decoded, read_image
from vision_tasks.data.geotiff import ReadRegion, Tags, can_read_regions, open_regions, stream_tags
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.types import Bands, Region, Size
from vision_tasks.warp import Pixels

_BAND_PIXELS = 2**22  # decoded at once for an overview


@dataclass(frozen=True)
class Windows:
    """An image of which regions can be read."""

    size: Size  # upright
    read: Callable[[Region], Pixels]  # uint8 [h,w,C] of x0, y0, x1, y1; in any thread; raises DecodeError
    whole: str = ""  # why all of it is in memory; empty where regions are read from the file


def longest_side(path: Path) -> int:
    """Of an image, by its header; 0 where that can't be read: whoever decodes the file says why."""
    try:
        with path.open("rb") as file:
            tags = stream_tags(file)
        if tags:
            return max(tags.size)
        with Image.open(path) as image:
            return max(image.size)
    except Exception:  # damaged headers raise many kinds
        return 0


@contextmanager
def open_windows(path: Path, bands: Bands | None = None) -> Iterator[Windows]:
    """Open an image as RGB, or as `bands`. Raises what `read_image` raises."""
    tags = _tags(path)
    why_not = _why_whole(tags, bands)
    if not tags or why_not:
        yield _decoded(path, bands, why_not)
        return
    numbers = bands.numbers if bands else tuple(range(1, tags.seen + 1))
    with open_regions(path, numbers) as read:
        if read is None:
            yield _decoded(path, bands, "its strips or tiles are as large as images")
        else:
            yield Windows(tags.size, _Values(read, _limits(tags, bands), 1 if bands else 3 // len(numbers)))


def overview(image: Windows, factor: int) -> Pixels:
    """The whole image, means of blocks of `factor` x `factor` pixels: [ceil(h/factor), ceil(w/factor), C]."""
    height, width = image.size
    if factor == 1:
        return image.read((0, 0, width, height))
    rows = max(1, _BAND_PIXELS // (width * factor)) * factor
    ends = [(top, min(height, top + rows)) for top in range(0, height, rows)]
    return np.concatenate([_shrunk(image.read((0, top, width, end)), factor) for top, end in ends])


def turned(decoded: Decoded) -> Pixels:
    """The pixels turned as the file's orientation says; a view. They must not be reduced."""
    matrix, pixels = decoded.to_original, decoded.pixels
    across = matrix[0, 0] == 0
    if across:
        pixels = pixels.swapaxes(0, 1)
    x, y = (matrix[0, 1], matrix[1, 0]) if across else (matrix[0, 0], matrix[1, 1])
    return pixels[:: int(np.sign(y)), :: int(np.sign(x))]


@dataclass(frozen=True)
class _Values:
    """Regions of a TIFF as bytes."""

    values: ReadRegion
    limits: Limits | None
    copies: int  # of each channel: grey is shown as RGB

    def __call__(self, region: Region) -> Pixels:
        return to_bytes(self.values(region), self.limits).repeat(self.copies, axis=2)


def _tags(path: Path) -> Tags | None:
    try:
        with path.open("rb") as file:
            return stream_tags(file)
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from error


def _why_whole(tags: Tags | None, bands: Bands | None) -> str:
    """Why values that are read region by region are not what `read_image` gives; empty if they are."""
    if not tags:
        return "only TIFFs can be read by region"
    if not can_read_regions():
        return "regions of TIFFs are read by rasterio: pip install 'vision-tasks[geo]'"
    if tags.orientation != 1:
        return "a TIFF that is to be turned can't be read by region"
    there = max(bands.numbers) <= tags.bands if bands else tags.seen
    return "" if there else "this kind of TIFF can't be read by region; those of grey or RGB of 8 or 16 bits can"


def _limits(tags: Tags, bands: Bands | None) -> Limits | None:
    if bands is None:
        return tags.shown
    return bands.limits or ((0, tags.top) if tags.top else None)


def _decoded(path: Path, bands: Bands | None, why: str) -> Windows:
    pixels = turned(read_image(path, bands=bands))

    def read(region: Region) -> Pixels:
        x0, y0, x1, y1 = region
        return np.ascontiguousarray(pixels[y0:y1, x0:x1])

    return Windows((pixels.shape[0], pixels.shape[1]), read, why)


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    """Means of blocks; the last ones are completed by continuing the edge."""
    height, width = pixels.shape[:2]
    rows, columns = -(-height // factor), -(-width // factor)
    filled = np.pad(pixels, ((0, rows * factor - height), (0, columns * factor - width), (0, 0)), mode="edge")
    flat = [cv2.resize(channel, (columns, rows), interpolation=cv2.INTER_AREA) for channel in np.moveaxis(filled, 2, 0)]
    return np.stack(flat, axis=2)
