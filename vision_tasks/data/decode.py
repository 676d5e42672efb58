"""From a file to RGB pixels, or to chosen bands: no more than needed, whatever the format, or a reason why not.

OpenCV decodes JPEG and PNG, Pillow reads every header and decodes all other formats; each is the other's fallback.
An EXIF orientation is not applied to pixels: it is a matrix like any other step, and the one warp applies it.

What becomes of more than 8 bits: 16-bit values are scaled by the range of their type (0..65535), also where all of them
are small, so that images stay comparable and 12-bit data is dark; `--band-range 0,4095` is the remedy. 32-bit and
floating grey is scaled by the image's own finite maximum beyond 65535, or where it is 255 at most. Negative values and
not-a-number are black.

Bands, in contrast, are values as they are stored: of a TIFF those of its samples (a palette's are indices), of other
files the channels grey, grey and alpha, RGB or RGBA (palettes and CMYK are RGB). Their range is that of their type,
from 0, whatever the image holds; see `bands.to_bytes`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vision_tasks.data.bands import to_bytes
from vision_tasks.data.channels import count_channels, grey_to_bytes, stored_channels
from vision_tasks.data.geotiff import Tags, read_tags, read_values
from vision_tasks.data.header import CHOOSE_BANDS, Header, oriented, read_bytes, read_header, require_end, require_small
from vision_tasks.data.unreadable import DecodeError as DecodeError
from vision_tasks.errors import UserError
from vision_tasks.geometry import scale
from vision_tasks.types import Bands, Matrix, Sample, Size
from vision_tasks.warp import Pixels

# What is wrong with a file is told once, as its reason, and not by every library that has tried it, too.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_MOST_CHANNELS = 4  # RGB and alpha; a file with more has no colours that are meant to be seen
# What the decoder's low-pass leaves must still be shrunk by this much, or its softness shows (see `reduction_for`).
_MARGIN = 1.5


@dataclass(frozen=True)
class Decoded:
    """An image as its decoder left it, and the way to its original pixels."""

    pixels: Pixels  # uint8 [h,w,3] RGB, or [h,w,C] chosen bands, in the file's own orientation
    size: Size  # of the original, after EXIF rotation
    to_original: Matrix  # decoded px -> original px
    reduction: int = 1  # 1, 2, 4 or 8: how far the decoder shrank it


def read_image(path: Path, detail: Size | None = None, bands: Bands | None = None) -> Decoded:
    """Decode `path` to RGB, or to `bands`; `detail` is the coarsest size that will do.

    Raises DecodeError, and UserError where bands need a package that isn't installed.
    """
    return decode(read_bytes(path), detail, bands)


def count_bands(path: Path) -> int:
    """How many bands an image file has, by its header. Raises DecodeError."""
    return _bands_in(read_bytes(path))


def _bands_in(data: bytes) -> int:
    tags = read_tags(data)
    return tags.bands if tags else count_channels(read_header(data).mode)


def first_band_count(samples: Iterable[Sample[Any]]) -> int:
    """How many bands the first of `samples` has whose image can be read. Raises UserError if there is none."""
    failed: list[str] = []
    for sample in samples:
        try:
            if sample.data:
                return _bands_in(sample.data())
            return sample.pixels().shape[2] if sample.pixels else count_bands(sample.path)
        except DecodeError as error:
            failed.append(f"{sample.path}: {error}")
    first = f"{failed[0]}; none of the {len(failed)} images can be read" if failed else "there are no images"
    raise UserError(f"{first}, so their bands can't be counted")


def decode(data: bytes, detail: Size | None = None, bands: Bands | None = None) -> Decoded:
    """Decode an image file's bytes to RGB, or to `bands`; `detail` is the coarsest size that will do.

    Raises what `read_image` raises.
    """
    tags = read_tags(data)
    if bands:
        return _decode_tiff_bands(data, tags, bands) if tags else _decode_channels(data, bands)
    if tags and tags.bands > _MOST_CHANNELS:
        raise DecodeError(f"has {tags.bands} bands; {CHOOSE_BANDS}")
    header = read_header(data)
    reduction = reduction_for(header.size, detail) if header.format in ("JPEG", "MPO") and detail else 1
    pixels, reduction = _decode_pixels(data, header, reduction)
    to_file = scale(reduction, reduction)
    to_original, size = oriented(header.orientation, header.size)
    return Decoded(pixels, size, to_original @ to_file, reduction)


def _decode_tiff_bands(data: bytes, tags: Tags, bands: Bands) -> Decoded:
    _require_bands(bands, tags.bands)
    require_small(tags.size, len(bands.numbers))
    limits = bands.limits or ((0, tags.top) if tags.top else None)
    pixels = to_bytes(read_values(data, bands.numbers), limits)
    to_original, size = oriented(tags.orientation, tags.size)
    return Decoded(pixels, size, to_original)


def _decode_channels(data: bytes, bands: Bands) -> Decoded:
    """Bands of a file that isn't a TIFF are its channels."""
    header = read_header(data)
    count = count_channels(header.mode)
    _require_bands(bands, count)
    require_end(data, header)
    values = stored_channels(data, count)
    if values is None:
        values = _decode_pixels(data, header, 1)[0]
    pixels = to_bytes(values[..., [number - 1 for number in bands.numbers]], bands.limits)
    to_original, size = oriented(header.orientation, header.size)
    return Decoded(pixels, size, to_original)


def _require_bands(bands: Bands, there: int) -> None:
    wrong = [number for number in bands.numbers if number > there]
    if wrong:
        raise DecodeError(f"has no band {wrong[0]}: it has {there} band{'s' if there > 1 else ''}")


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


def _decode_pixels(data: bytes, header: Header, reduction: int) -> tuple[Pixels, int]:
    """The pixels, and how far they are reduced: only OpenCV's JPEG decoder can do that."""
    require_end(data, header)
    by_opencv = header.format == "PNG" or (header.format in ("JPEG", "MPO") and header.mode in ("L", "RGB"))
    if by_opencv and (pixels := _decode_opencv(data, reduction)) is not None:
        return _require_size(pixels, header, reduction), reduction
    pixels = _decode_pillow(data)
    if pixels is None and not by_opencv and not _is_turned_tiff(data):
        pixels = _decode_opencv(data, 1)
    if pixels is None:
        raise DecodeError(f"damaged {header.format} data")
    return _require_size(pixels, header, 1), 1


def _is_turned_tiff(data: bytes) -> bool:
    """What OpenCV would leave lying and Pillow turns."""
    tags = read_tags(data)
    return tags is not None and tags.orientation != 1


def _require_size(pixels: Pixels, header: Header, reduction: int) -> Pixels:
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
            return np.repeat(grey_to_bytes(image)[..., None], 3, axis=-1)
        return np.array(image.convert("RGB"))
    except Exception:  # damaged data raises many kinds; OpenCV gets its chance, then the caller gives the reason
        return None
