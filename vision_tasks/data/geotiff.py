"""TIFF files of any number of bands: what their tags say, and their values through rasterio (the extra `geo`).

rasterio is loaded when the first bands are asked for. GDAL sees nothing but the bytes it is given, and only its TIFF
driver may look at them: no file beside the image, no network and no virtual format can come in.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import Size

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# TIFF 6.0, section 8
_WIDTH, _HEIGHT, _BITS, _MEANING, _STRIPS, _ORIENTATION, _SAMPLES, _TILES = 256, 257, 258, 262, 273, 274, 277, 324
_PALETTE = 3  # a meaning: values are indices


@dataclass(frozen=True)
class Tags:
    """What the first page of a TIFF says about itself."""

    size: Size
    bands: int
    orientation: int  # 1..8, as in EXIF
    top: int | None = None  # white, where values have less than 8 bits


def read_tags(data: bytes) -> Tags | None:
    """The tags of the first page; None if `data` is no TIFF. Raises DecodeError if they are damaged."""
    if not data.startswith(_SIGNATURES):
        return None
    try:
        directory = _directory(data)
        stream = io.BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
        size = int(directory[_HEIGHT]), int(directory[_WIDTH])
        bands = int(directory.get(_SAMPLES, 1))
        bits = int(directory.get(_BITS, (1,))[0])
        _ = directory.get(_STRIPS) or directory[_TILES]
    except KeyError as error:  # tags behind the end of the file are passed over
        raise DecodeError("the file is cut short") from error
    except Exception as error:  # damaged tags raise many kinds
        raise DecodeError(f"damaged TIFF header: {error}") from error
    orientation = directory.get(_ORIENTATION, 1)
    top = 2**bits - 1 if bits < 8 and directory.get(_MEANING) != _PALETTE else None
    return Tags(size, bands, orientation if orientation in range(1, 9) else 1, top)


def _directory(data: bytes) -> ImageFileDirectory_v2:
    """The first page's, not yet read."""
    if data[2:4] in (b"*\0", b"\0*"):
        return ImageFileDirectory_v2(data[:8])
    # Pillow looks for BigTIFF's 43 where little-endian files have it; the prefix says how bytes are ordered.
    return ImageFileDirectory_v2(b"II+\0" + data[4:16], prefix=data[:2])


def read_values(data: bytes, numbers: Sequence[int]) -> NDArray[Any]:
    """The bands `numbers` (from 1) of a TIFF as they are stored, [h,w,C].

    Raises DecodeError for damaged data, and UserError where rasterio isn't installed.
    """
    rasterio = _load_rasterio()
    try:
        with rasterio.MemoryFile(data) as file, file.open(driver="GTiff") as tiff:
            return np.moveaxis(tiff.read(list(numbers)), 0, -1)
    except rasterio.errors.RasterioError as error:
        raise DecodeError(f"damaged TIFF data: {error.__cause__ or error}") from error


@cache
def _load_rasterio() -> Any:
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise UserError("TIFF bands are read by rasterio: pip install 'vision-tasks[geo]'") from error
    # Images need no place on Earth. For good, and not around each reading: a context manager would not be thread-safe.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio
