"""What ordinary image files store besides 8-bit RGB: grey, alpha, and more than 8 bits a channel."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.data.bands import to_bytes
from vision_tasks.data.unreadable import DecodeError

_BITS_TAG = 258  # BitsPerSample of TIFF
_PNG_BITS = 24  # where a PNG says how many bits a channel has


def count_channels(mode: str) -> int:
    """How many channels an image of Pillow's `mode` has; what is stored as neither grey nor RGB is read as RGB."""
    return {"L": 1, "LA": 2, "RGBA": 4, "F": 1}.get(mode, 1 if mode.startswith("I") else 3)


def stored_channels(data: bytes, count: int) -> NDArray[Any] | None:
    """The `count` channels [h,w,count] of a file in their number type; None for what is 8-bit RGB after decoding.

    Raises DecodeError.
    """
    deep = data.startswith(b"\x89PNG") and data[_PNG_BITS] == 16
    if count == 3 and not deep:
        return None
    try:
        values = _read_deep_png(data, count) if deep else np.array(Image.open(io.BytesIO(data)))
    except Exception as error:  # damaged data raises many kinds
        raise DecodeError(f"damaged data: {error}") from error
    return values if values.ndim == 3 else values[..., None]


def _read_deep_png(data: bytes, count: int) -> NDArray[Any]:
    """16-bit channels, of which Pillow would drop half the bits where there is more than one."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DecodeError("not a complete PNG")
    order = {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[count]  # OpenCV's is blue, green, red, alpha
    return values if values.ndim == 2 else np.asarray(values[..., order])


def grey_to_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """16-bit, 32-bit and floating grey [h,w]: by the type's range up to 16 bits, by the image's own beyond.

    Not-a-number becomes black and infinity white; the range is that of the other values.
    """
    values = np.asarray(image)
    if values.dtype.itemsize == 2:
        return to_bytes(values)
    largest = float(values.max(initial=0, where=np.isfinite(values)))
    top = _widened_top(image) or (65535 if 255 < largest <= 65535 else max(1, largest))
    return to_bytes(values, (0, top))


def _widened_top(image: Image.Image) -> int | None:
    """White, where Pillow keeps 16 bits in 32: in PPM files, and in TIFFs with a sign (negative values are black)."""
    if image.format == "PPM":
        return 65535
    return 32767 if image.mode == "I" and 16 in getattr(image, "tag_v2", {}).get(_BITS_TAG, ()) else None
