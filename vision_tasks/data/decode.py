"""From a file to RGB pixels: no more of them than needed, whatever the format, or a reason why not.

OpenCV decodes JPEG and PNG, Pillow reads every header and decodes all other formats; each is the other's fallback.
An EXIF orientation is not applied to pixels: it is a matrix like any other step, and the one warp applies it.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from vision_tasks.geometry import affine, scale
from vision_tasks.types import Matrix, Size
from vision_tasks.warp import Pixels

MAX_PIXELS = int(os.environ.get("VISION_TASKS_MAX_PIXELS", 2**28))  # refuse larger images before decoding them

# Pillow warns of large images; here they have a limit of their own. (A context manager would not be thread-safe.)
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

_ORIENTATION_TAG = 0x0112
# What the decoder's low-pass leaves must still be shrunk by this much, or its softness shows (see `reduction_for`).
_MARGIN = 1.5


class DecodeError(Exception):
    """A file that is not a readable image; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Decoded:
    """An image as its decoder left it, and the way to its original pixels."""

    pixels: Pixels  # uint8 [h,w,3] RGB, in the file's own orientation
    size: Size  # of the original, after EXIF rotation
    to_original: Matrix  # decoded px -> original px
    reduction: int = 1  # 1, 2, 4 or 8: how far the decoder shrank it


@dataclass(frozen=True)
class _Header:
    format: str
    mode: str
    size: Size  # before EXIF rotation
    orientation: int  # EXIF 1..8
    body: int  # where the pixel data may start in the file


def read_image(path: Path, detail: Size | None = None) -> Decoded:
    """Decode `path` to RGB; `detail` is the coarsest size that will do. Raises DecodeError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DecodeError(error.strerror or str(error)) from error
    return decode(data, detail)


def decode(data: bytes, detail: Size | None = None) -> Decoded:
    """Decode an image file's bytes to RGB; `detail` is the coarsest size that will do. Raises DecodeError."""
    header = _read_header(data)
    reduction = reduction_for(header.size, detail) if header.format in ("JPEG", "MPO") and detail else 1
    pixels, reduction = _decode_pixels(data, header, reduction)
    to_file = scale(reduction, reduction)
    oriented, size = _orientation(header.orientation, header.size)
    return Decoded(pixels, size, oriented @ to_file, reduction)


def reduction_for(size: Size, detail: Size) -> int:
    """The strongest of JPEG's cheap reductions (1/8, 1/4, 1/2) that keeps an image of `size` finer than `detail`.

    It depends on the file and the canvas, never on a draw, so caches and luck don't meet.
    """
    short, long = min(size), max(size)
    need_short, need_long = min(detail), max(detail)
    for reduction in (8, 4, 2):
        if short >= reduction * _MARGIN * need_short and long >= reduction * _MARGIN * need_long:
            return reduction
    return 1


def _read_header(data: bytes) -> _Header:
    if not data:
        raise DecodeError("the file is empty")
    stream = io.BytesIO(data)
    try:
        image = Image.open(stream)
        body = stream.tell()
        orientation = _read_orientation(image, data)
    except UnidentifiedImageError as error:
        raise DecodeError("not an image, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(_too_large()) from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged headers
        raise DecodeError(f"damaged: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise DecodeError(_too_large())
    return _Header(image.format or "", image.mode, (image.height, image.width), orientation, body)


def _read_orientation(image: Image.Image, data: bytes) -> int:
    # Without its chunk, Pillow would decode the whole PNG to look for one behind the pixels.
    if image.format == "PNG" and b"eXIf" not in data:
        return 1
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return orientation if orientation in range(1, 9) else 1


def _too_large() -> str:
    return f"larger than {MAX_PIXELS} pixels; raise VISION_TASKS_MAX_PIXELS if it is meant to be"


def _decode_pixels(data: bytes, header: _Header, reduction: int) -> tuple[Pixels, int]:
    """The pixels, and how far they are reduced: only OpenCV's JPEG decoder can do that."""
    _require_end(data, header)
    by_opencv = header.format == "PNG" or (header.format in ("JPEG", "MPO") and header.mode in ("L", "RGB"))
    if by_opencv and (pixels := _decode_opencv(data, reduction)) is not None:
        return _require_size(pixels, header, reduction), reduction
    pixels = _decode_pillow(data)
    if pixels is None and not by_opencv:
        pixels = _decode_opencv(data, 1)
    if pixels is None:
        raise DecodeError(f"damaged {header.format} data")
    return _require_size(pixels, header, 1), 1


def _require_end(data: bytes, header: _Header) -> None:
    """Refuse files cut short, of which decoders would make half a picture."""
    if header.format in ("JPEG", "MPO"):
        # The end marker, looked for from the end: it cannot occur inside the coded pixels.
        complete = data.rfind(b"\xff\xd9", header.body) >= 0
    else:
        complete = header.format != "PNG" or b"IEND" in data[-64:]
    if not complete:
        raise DecodeError("the file is cut short")


def _require_size(pixels: Pixels, header: _Header, reduction: int) -> Pixels:
    expected = tuple(-(-side // reduction) for side in header.size)
    if pixels.shape[:2] != expected:
        raise DecodeError(f"decoded to {pixels.shape[:2]}, but its header says {expected}")
    return pixels


_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _decode_opencv(data: bytes, reduction: int) -> Pixels | None:
    buffer = np.frombuffer(data, np.uint8)
    try:
        if reduction == 1:
            pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        else:
            pixels = cv2.imdecode(buffer, _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
            pixels = None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return None if pixels is None else np.asarray(pixels, np.uint8)
    except cv2.error:
        return None


def _decode_pillow(data: bytes) -> Pixels | None:
    """The first frame, alpha dropped; None if Pillow can't."""
    try:
        image = Image.open(io.BytesIO(data))
        if image.mode.startswith("I") or image.mode == "F":
            return _grey_to_rgb(np.asarray(image))
        return np.array(image.convert("RGB"))
    except Exception:  # damaged data raises many kinds; OpenCV gets its chance, then the caller gives the reason
        return None


def _grey_to_rgb(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Pixels:
    """16-bit, 32-bit and floating grey to 8 bits: by the type's range up to 16 bits, by the image's own beyond."""
    values = values.astype(np.float64)
    top = 65535.0 if values.max(initial=0) > 255 and values.max() <= 65535 else max(1.0, float(values.max(initial=0)))
    grey = np.rint(values.clip(0, top) * (255 / top)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _orientation(code: int, size: Size) -> tuple[Matrix, Size]:
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
