"""The header of a usual JPEG, read in a tenth of the time that a library takes for all that a header may hold.

For small pictures Pillow's header is a third of the cost of loading, most of it with the interpreter lock held. ITU-T
T.81, annex B: markers, each with a length behind it, until the scan starts.
"""

from __future__ import annotations

from typing import NamedTuple

from vision_tasks.types import Size

_START, _SCAN, _APP1, _APP14 = 0xD8, 0xDA, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the others of this range are tables
_WITH_LENGTH = frozenset(range(0xC0, 0xFF)) - set(range(0xD0, 0xDA))
_MODES = {1: "L", 3: "RGB"}


class PlainJpeg(NamedTuple):
    """What is needed to decode a JPEG whose pixels lie upright."""

    size: Size
    mode: str  # L or RGB
    body: int  # where the scan starts


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """The header of a JPEG of 8 bits, grey or in colours, that says nothing of its orientation; None for all else."""
    size: Size | None = None
    mode: str | None = None
    place = 2
    if data[:2] != bytes((0xFF, _START)):
        return None
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _SCAN:
            return PlainJpeg(size, mode, place) if size and mode else None
        # Exif and XMP can turn a picture, APP2 can say that more pictures follow, APP14 that colours are others.
        if marker in (_APP1, _APP14) or marker not in _WITH_LENGTH or data.startswith(b"MPF\0", place + 4):
            return None
        if marker in _FRAMES:
            size = int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
            mode = _MODES.get(data[place + 9]) if data[place + 4] == 8 and min(size) else None
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None
