"""TIFF files of any number of bands: what their tags say, and their values through rasterio (the extra `geo`).

rasterio is loaded when the first bands or regions are asked for. GDAL sees nothing but the bytes, or the one open file,
that it is given, and only its TIFF driver may look at them: no file beside the image, no network and no virtual format
can come in.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vision_tasks.data.bands import Limits
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import Region, Size

ReadRegion = Callable[[Region], NDArray[Any]]  # the values [h,w,C] of x0, y0, x1, y1; in any thread

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# TIFF 6.0, section 8
_WIDTH, _HEIGHT, _BITS, _MEANING, _STRIPS, _ORIENTATION, _SAMPLES, _TILES = 256, 257, 258, 262, 273, 274, 277, 324
_EXTRA, _NUMBERS = 338, 339
_WHITE_IS_0, _GREY, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6  # meanings; grey's 0 is black, a palette's are indices
_COMPRESSION, _JPEG = 259, 7
_UNSIGNED = 1  # a kind of numbers
_PREMULTIPLIED = 1  # a kind of extra samples
# GDAL decodes whole blocks and keeps some. In larger ones a region would cost what the image does.
_LARGEST_BLOCK = 2**24  # pixels
_KEPT_MEGABYTES = "64"  # a row of 512 px tiles of an RGB image 20,000 px wide has 31
_ONLY_NAME = "image.tif"


@dataclass(frozen=True)
class Tags:
    """What the first page of a TIFF says about itself."""

    size: Size
    bands: int
    orientation: int  # 1..8, as in EXIF
    top: int | None = None  # white, where values have less than 8 bits
    seen: int = 0  # how many of its bands are what people see, as rasterio reads them: 1 = grey, 3 = RGB, 0 = none
    shown: Limits | None = None  # black and white of what people see; None = the range of the type


def read_tags(data: bytes) -> Tags | None:
    """The tags of the first page; None if `data` is no TIFF. Raises DecodeError if they are damaged."""
    return stream_tags(io.BytesIO(data))


def stream_tags(stream: BinaryIO) -> Tags | None:
    """What `read_tags` does, of an open file, of which no more is read."""
    head = stream.read(16)
    if not head.startswith(_SIGNATURES):
        return None
    try:
        directory = _directory(head)
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
    meaning = directory.get(_MEANING)
    top = 2**bits - 1 if bits < 8 and meaning != _PALETTE else None
    shown = (2.0**bits - 1, 0.0) if meaning == _WHITE_IS_0 else None
    orientation = orientation if orientation in range(1, 9) else 1
    return Tags(size, bands, orientation, top, _seen(directory, bands, bits), shown)


def _seen(directory: ImageFileDirectory_v2, bands: int, bits: int) -> int:
    """`Tags.seen`: of grey and RGB of 8 and 16 bits, whatever alpha is beside them, and of JPEG, which becomes RGB."""
    if set(directory.get(_NUMBERS, (_UNSIGNED,))) != {_UNSIGNED} or _PREMULTIPLIED in directory.get(_EXTRA, ()):
        return 0
    meaning = directory.get(_MEANING)
    if meaning == _YCBCR:
        return 3 if (directory.get(_COMPRESSION), bits, bands) == (_JPEG, 8, 3) else 0
    if meaning == _RGB:
        return 3 if bits in (8, 16) and bands in (3, 4) else 0
    grey: dict[Any, tuple[tuple[int, int], ...]] = {_GREY: ((8, 1), (8, 2), (16, 1)), _WHITE_IS_0: ((8, 1),)}
    return 1 if (bits, bands) in grey.get(meaning, ()) else 0


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


@contextmanager
def open_regions(path: Path, numbers: Sequence[int]) -> Iterator[ReadRegion | None]:
    """How to read regions of the bands `numbers` (from 1) of a TIFF; None where its blocks are too large for that.

    Raises DecodeError, when regions are read too, and UserError where rasterio isn't installed.
    """
    rasterio = _load_rasterio()
    try:
        with rasterio.open(_ONLY_NAME, driver="GTiff", sharing=False, opener=partial(_open_only, path)) as tiff:
            height, width = tiff.block_shapes[0]
            fine = height * width <= _LARGEST_BLOCK
            # rasterio finds the file by a context variable, which other threads don't have.
            yield partial(_read_region, partial(copy_context().run, tiff.read, list(numbers)), Lock()) if fine else None
    except rasterio.errors.RasterioError as error:
        raise DecodeError(f"damaged TIFF data: {error.__cause__ or error}") from error


def _open_only(path: Path, name: str, mode: str = "rb") -> BinaryIO:
    """What GDAL opens under a name of ours; any other file, beside the image or anywhere, is not there."""
    if name != _ONLY_NAME:
        raise FileNotFoundError(name)
    return path.open("rb")


def can_read_regions() -> bool:
    """Whether rasterio is installed."""
    return find_spec("rasterio") is not None


def _read_region(read: Callable[..., Any], lock: Lock, region: Region) -> NDArray[Any]:
    """One thread at a time: neighbours share blocks, and an open file may not be read by two."""
    x0, y0, x1, y1 = region
    with lock:
        try:
            values = read(window=((y0, y1), (x0, x1)))
        except _load_rasterio().errors.RasterioError as error:
            raise DecodeError(f"damaged TIFF data: {error.__cause__ or error}") from error
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


@cache
def _load_rasterio() -> Any:
    # What GDAL keeps of decoded blocks would else grow to a twentieth of the machine's memory.
    os.environ.setdefault("GDAL_CACHEMAX", _KEPT_MEGABYTES)
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise UserError("TIFF bands are read by rasterio: pip install 'vision-tasks[geo]'") from error
    # Images need no place on Earth. For good, and not around each reading: a context manager would not be thread-safe.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio
