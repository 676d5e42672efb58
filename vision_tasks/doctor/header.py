"""What the header of an image file says, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from vision_tasks.data.header import opened, read_orientation
from vision_tasks.data.jpeg import plain_jpeg
from vision_tasks.types import Size

_TURNED = 5  # EXIF orientations from here on swap height and width
_BITS_TAG = 258  # BitsPerSample of TIFF
_PNG_BITS = 24  # where a PNG says how many bits a channel has
_STILL = frozenset({"JPEG", "MPO"})  # whose further frames are previews and depth, and no film


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one image."""

    format: str  # Pillow's name: JPEG, PNG, ...
    mode: str  # Pillow's: RGB, L, RGBA, P, ...
    size: Size  # upright
    orientation: int = 1  # EXIF 1..8
    bits: int = 8  # a channel
    frames: int = 1


def read_header(data: bytes) -> Header:
    """The header of a file's bytes, however many pixels it announces. Raises DecodeError where they have none."""
    if plain := plain_jpeg(data):
        return Header("JPEG", plain.mode, plain.size)
    with opened(data) as (image, _):
        return _read(image, data)


def _read(image: Image.Image, data: bytes) -> Header:
    kind = image.format or ""
    orientation = read_orientation(image, data)
    size = (image.width, image.height) if orientation >= _TURNED else (image.height, image.width)
    frames = 1 if kind in _STILL else getattr(image, "n_frames", 1)
    return Header(kind, image.mode, size, orientation, _bits(image, kind, data), frames)


def _bits(image: Image.Image, kind: str, data: bytes) -> int:
    if kind == "PNG":
        return max(8, data[_PNG_BITS])
    if kind == "TIFF":
        return int(max(8, *getattr(image, "tag_v2", {}).get(_BITS_TAG, (8,)), 8))
    return 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8
