"""Masks of class indices [h,w], of any size: a PNG with a palette, and pixels counted, some rows at a time.

The index may lie in a file (`numpy.memmap`): no more than `_AT_ONCE` of its pixels are in memory for this.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.uint8]  # [h,w]

_AT_ONCE = 2**22  # pixels
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BY_PALETTE, _NO_FILTER = 3, 0  # PNG's colour type and filter type (ISO/IEC 15948, 11.2.2 and 9.2)
_COMPRESSION = 3  # of zlib: masks are mostly even, more effort gains little


def pixel_counts(index: Index) -> NDArray[np.int64]:
    """How many pixels have each value, [256]."""
    counts = np.zeros(256, np.int64)
    for rows in _bands(index):
        # In single precision, which is exact up to 2^24.
        counts += cv2.calcHist([np.ascontiguousarray(rows)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def write_index_png(path: Path, index: Index, palette: Sequence[tuple[int, int, int]]) -> None:
    """Write 8-bit indices whose colours are `palette`, at most 256. If that fails, nothing is left of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as file:
            height, width = index.shape
            file.write(_SIGNATURE)
            _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _BY_PALETTE, 0, 0, 0))
            _chunk(file, b"PLTE", bytes(channel for colour in palette for channel in colour))
            for data in _compressed(index):
                _chunk(file, b"IDAT", data)
            _chunk(file, b"IEND", b"")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _compressed(index: Index) -> Iterator[bytes]:
    """The rows as zlib's stream, in pieces."""
    packer = zlib.compressobj(_COMPRESSION)
    for rows in _bands(index):
        filtered = np.full((len(rows), rows.shape[1] + 1), _NO_FILTER, np.uint8)
        filtered[:, 1:] = rows
        yield packer.compress(filtered.data)
    yield packer.flush()


def _bands(index: Index) -> Iterator[Index]:
    step = max(1, _AT_ONCE // index.shape[1])
    return (index[top : top + step] for top in range(0, len(index), step))


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
