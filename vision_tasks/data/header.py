"""What the header of an image file says, before anything is decoded: its format and size, and which way is up."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from vision_tasks.data.geotiff import read_tags
from vision_tasks.data.jpeg import plain_jpeg
from vision_tasks.data.limits import most_pixels
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.geometry import affine
from vision_tasks.types import Matrix, Sample, Size

# The limit is ours, `most_pixels`: it is looked at as soon as a header is read. Pillow's own would stand in the way of
# raising it. (A context manager would not be thread-safe.)
Image.MAX_IMAGE_PIXELS = None

CHOOSE_BANDS = "train with --bands 4,3,2 or --bands all"
_ORIENTATION_TAG = 0x0112
_PNG_END = b"\0\0\0\0IEND"


@dataclass(frozen=True)
class Header:
    """The header of one image."""

    format: str
    mode: str
    size: Size  # before EXIF rotation
    orientation: int  # EXIF 1..8
    body: int  # where the pixel data may start in the file


def bytes_of(sample: Sample[Any]) -> bytes:
    """The image file of a sample, wherever it lies. Raises DecodeError."""
    return sample.data() if sample.data is not None else read_bytes(sample.path)


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises DecodeError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from error


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Image.Image, int]]:
    """Pillow's view of a file, and how far it read to see the header. Raises DecodeError for what is no image.

    So it does for whatever is raised within: Pillow's plugins raise many kinds of errors on damaged headers.
    """
    if not data:
        raise DecodeError("the file is empty")
    stream = io.BytesIO(data)
    try:
        with Image.open(stream) as image:
            yield image, stream.tell()
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        if tags := read_tags(data):
            raise DecodeError(f"a TIFF of {tags.bands} bands that aren't colours as usual; {CHOOSE_BANDS}") from error
        raise DecodeError("not an image, or of an unknown format") from error
    except Exception as error:
        raise DecodeError(f"damaged: {error}") from error


def read_header(data: bytes) -> Header:
    """Raises DecodeError, also for more pixels than are allowed."""
    if plain := plain_jpeg(data):
        require_small(plain.size)
        return Header("JPEG", plain.mode, plain.size, 1, plain.body)
    with opened(data) as (image, body):
        size = (image.height, image.width)
        header = Header(image.format or "", image.mode, size, read_orientation(image, data), body)
    require_small(header.size)
    return header


def read_orientation(image: Image.Image, data: bytes) -> int:
    # Without its chunk, Pillow would decode the whole PNG to look for one behind the pixels. A TIFF it turns by itself.
    if image.format == "TIFF" or (image.format == "PNG" and b"eXIf" not in data):
        return 1
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return orientation if orientation in range(1, 9) else 1


def require_small(size: Size, channels: int = 3) -> None:
    """Refuse images of more than `most_pixels`; of many bands, every three count as one image's."""
    if size[0] * size[1] * -(-channels // 3) > most_pixels():
        raise DecodeError(f"larger than {most_pixels()} pixels; raise VISION_TASKS_MAX_PIXELS if it is meant to be")


def require_end(data: bytes, header: Header) -> None:
    """Refuse files cut short, of which decoders would make half a picture."""
    if header.format in ("JPEG", "MPO"):
        # The end marker, wherever it is, since other bytes may follow: it cannot occur inside the coded pixels.
        complete = data.rfind(b"\xff\xd9", header.body) >= 0
    else:
        complete = header.format != "PNG" or data.rfind(_PNG_END, header.body) >= 0
    if not complete:
        raise DecodeError("the file is cut short")


def oriented(code: int, size: Size) -> tuple[Matrix, Size]:
    """The matrix file px -> upright px for an EXIF orientation, and the upright size (EXIF 2.3, tag 274)."""
    height, width = size
    upright = (width, height) if code >= 5 else size
    matrices = {
        1: (1, 0, 0, 0, 1, 0),
        2: (-1, 0, width, 0, 1, 0),
        3: (-1, 0, width, 0, -1, height),
        4: (1, 0, 0, 0, -1, height),
        5: (0, 1, 0, 1, 0, 0),
        6: (0, -1, height, 1, 0, 0),
        7: (0, -1, height, -1, 0, width),
        8: (0, 1, 0, -1, 0, width),
    }
    return affine(*matrices[code]), upright
