"""Decoded images in one memory-mapped file, which threads and processes share.

The file is a header, a hash table of slots and the pixels. A slot holds everything of an image but its pixels. It is
written after them, with a checksum of itself and one of them, so that a killed process leaves a file of whole entries,
and a machine without power one whose damage is noticed. Nothing that was stored is ever moved or overwritten: what was
handed out stays what it is. A file that can't be used is replaced by a new one, never shortened, for a process may
still look into it.

Pixels are written by system calls and only read through memory: on a full disk a call fails, but memory is a signal
that ends the process.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import NamedTuple
from weakref import finalize
from zlib import crc32

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from vision_tasks.data.decode import Decoded

# To be raised whenever this layout changes, or what the same file and settings are decoded to.
VERSION = 1
KEY_BYTES = 16

_MAGIC = b"VTCACHE\0"
_HEADER = Struct("<8s16sQ")  # magic, maker, number of slots
_END = Struct("<Q")  # where the next pixels go; behind the header
_SLOT = Struct("<16s2Q6I9d")  # as `_Slot`
_CHECK = Struct("<I")  # behind each slot
_SLOT_BYTES = _SLOT.size + _CHECK.size
_EXTENTS = np.dtype(
    [("key", "V16"), ("offset", "<u8"), ("sum", "<u8"), ("shape", "<u4", 3), ("rest", "V88")]
)  # of a slot, for a scan
_TABLE = 4096  # where the slots begin
_ALIGNED = 64  # where pixels begin, in bytes: a line of the processor's cache
_STEP = 1 << 26  # by which the file grows: each time it must be mapped anew
_SLOTS = 3  # an image of a new file; few are full, so few are looked at
_FEWEST_SLOTS = 1.25  # an image, below which an old file is too small


FlatPixels = NDArray[np.uint8]  # [bytes]


class UnusableError(Exception):
    """A file that is no cache of ours; the message is the reason."""


class _Slot(NamedTuple):
    key: bytes
    offset: int
    checksum: int  # of the pixels
    rows: int  # of them
    columns: int
    channels: int
    height: int  # of the original
    width: int
    reduction: int
    matrix: tuple[float, ...]  # 9, row by row

    @property
    def bytes(self) -> int:
        return self.rows * self.columns * self.channels


class CacheFile:
    """Images by their keys. Every method may be called by any thread of any process that has the file open.

    `budget` is how many bytes of pixels are stored at most; `place` is where other processes can `join` it.
    """

    def __init__(self, descriptor: int, place: Path, budget: int) -> None:
        self._descriptor = descriptor
        finalize(self, os.close, descriptor)
        self.place, self.budget = place, budget
        self._lock = Lock()
        self._map = self._mapped()
        self._slots = _read_header(descriptor)
        self._start = _first_pixels(self._slots)
        self.stopped = ""  # why nothing more is stored, once that is so

    @classmethod
    def in_memory(cls, images: int, budget: int) -> CacheFile:
        """A new file that is only memory; it is gone with the last process that has it open, however that ends."""
        descriptor = os.memfd_create("vision_tasks")
        _write_empty(descriptor, images)
        return cls(descriptor, Path(f"/proc/{os.getpid()}/fd/{descriptor}"), budget)

    @classmethod
    def create(cls, path: Path, images: int, budget: int) -> CacheFile:
        """A new file at `path`, where none may be, for the user's eyes only."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        _write_empty(descriptor, images)
        return cls(descriptor, path, budget)

    @classmethod
    def join(cls, place: Path, budget: int, images: int = 0) -> CacheFile:
        """A file that is there, with room for `images`. Raises OSError, and UnusableError."""
        descriptor = os.open(place, os.O_RDWR)
        try:
            _require_whole(descriptor, images)
        except UnusableError:
            os.close(descriptor)
            raise
        file = cls(descriptor, place, budget)
        file._recover_end()
        return file

    def find(self, key: bytes) -> int | None:
        """The number of the slot of `key`, if its pixels are those that were stored."""
        number = self._probe(key)
        slot = self._slot(number)
        return number if slot is not None and slot.key == key and self._is_whole(slot) else None

    def load(self, number: int) -> Decoded:
        """The image in a slot that was found or stored; its pixels can't be written to."""
        slot = self._slot(number)
        assert slot is not None
        pixels = self._bytes(slot).reshape(slot.rows, slot.columns, slot.channels)
        return Decoded(pixels, (slot.height, slot.width), np.array(slot.matrix).reshape(3, 3), slot.reduction)

    def store(self, key: bytes, image: Decoded) -> int | None:
        """Keep `image`; the number of its slot, or None where there is no room (`stopped` then says why)."""
        if self.stopped:
            return None
        pixels = np.ascontiguousarray(image.pixels).reshape(-1)
        slot = _Slot(
            key, 0, _checksum(pixels), *_three(image.pixels.shape), *image.size, image.reduction,
            tuple(image.to_original.reshape(-1).tolist()),
        )  # fmt: skip
        with self._alone():
            return self._add(slot, pixels.data)

    def _add(self, slot: _Slot, pixels: memoryview) -> int | None:
        number = self._probe(slot.key)
        there = self._slot(number)
        is_ours = there is not None and there.key == slot.key
        if there is not None and is_ours and self._is_whole(there):
            return number  # another thread or process was faster
        begin = -(-self._end() // _ALIGNED) * _ALIGNED
        end = begin + slot.bytes
        if end - self._start > self.budget or (there is not None and not is_ours):
            self.stopped = "it is full"
            return None
        try:
            self._write(slot._replace(offset=begin), number, pixels, end)
        except OSError as error:
            self.stopped = error.strerror or str(error)
            return None
        return number

    def _write(self, slot: _Slot, number: int, pixels: memoryview, end: int) -> None:
        """In this order: whenever it ends, slots are of whole pixels, and no pixels are stored over them."""
        if end > self._size():
            os.ftruncate(self._descriptor, -(-end // _STEP) * _STEP)
        self._put(pixels, slot.offset)
        self._put(_END.pack(end), _HEADER.size)
        packed = _SLOT.pack(*slot[:-1], *slot.matrix)
        self._put(packed + _CHECK.pack(crc32(packed)), _TABLE + number * _SLOT_BYTES)

    def _probe(self, key: bytes) -> int:
        """The number of the slot of `key`, of the free one where it would be, or of any other if the table is full."""
        first = int.from_bytes(key[:8], "little")
        for step in range(self._slots):
            number = (first + step) % self._slots
            slot = self._slot(number)
            if slot is None or slot.key == key:
                return number
        return first % self._slots

    def _slot(self, number: int) -> _Slot | None:
        """What a slot holds; None where it is free, damaged, or being written by another process."""
        start = _TABLE + number * _SLOT_BYTES
        stored = self._map[start : start + _SLOT_BYTES]  # a copy: what is checked is what is used
        packed = stored[: _SLOT.size]
        if stored[_SLOT.size :] != _CHECK.pack(crc32(packed)):
            return None
        values = _SLOT.unpack(packed)
        return _Slot._make((*values[:9], values[9:]))

    def _is_whole(self, slot: _Slot) -> bool:
        return slot.offset + slot.bytes <= self._size() and _checksum(self._bytes(slot)) == slot.checksum

    def _bytes(self, slot: _Slot) -> FlatPixels:
        """The pixels of a slot, flat, where they lie."""
        mapped = self._map
        if slot.offset + slot.bytes > len(mapped):
            mapped = self._map = self._mapped()
        return np.frombuffer(mapped, np.uint8, slot.bytes, slot.offset)

    def _mapped(self) -> mmap.mmap:
        # The file's present length; arrays of an earlier, shorter mapping keep that one alive.
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)

    def _put(self, data: bytes | memoryview, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def _end(self) -> int:
        (end,) = _END.unpack_from(self._map, _HEADER.size)
        return int(end)

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _recover_end(self) -> None:
        """Put the end behind all pixels: without power, slots may reach the disk and the end not."""
        with self._alone():
            slots = np.frombuffer(self._map, _EXTENTS, self._slots, _TABLE)
            ends = slots["offset"] + slots["shape"].astype(np.uint64).prod(axis=1)
            end = int(ends[ends <= self._size()].max(initial=0))
            if end > self._end():
                self._put(_END.pack(end), _HEADER.size)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process changes the file meanwhile; a process that dies lets go."""
        import fcntl  # not on every system, where nobody opens a file

        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _checksum(pixels: FlatPixels) -> int:
    """The sum of 64-bit words: at a tenth of a CRC's cost it notices zeros, as which lost pages are read."""
    whole = len(pixels) // 8 * 8
    total = int(pixels[:whole].view("<u8").sum(dtype=np.uint64))
    return (total + int.from_bytes(pixels[whole:].tobytes(), "little")) % 2**64


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    rows, columns, channels = shape
    return rows, columns, channels


def _maker() -> bytes:
    """What entries depend on besides their keys: other decoders make other pixels of the same file."""
    return blake2b(repr((VERSION, cv2.__version__, PIL.__version__)).encode(), digest_size=16).digest()


def _first_pixels(slots: int) -> int:
    """Where the pixels begin, behind so many slots."""
    return -(-(_TABLE + slots * _SLOT_BYTES) // _ALIGNED) * _ALIGNED


def _write_empty(descriptor: int, images: int) -> None:
    slots = _SLOTS * images + 1
    start = _first_pixels(slots)
    os.ftruncate(descriptor, start)
    os.pwrite(descriptor, _HEADER.pack(_MAGIC, _maker(), slots) + _END.pack(start), 0)


def _read_header(descriptor: int) -> int:
    """The number of slots. Raises UnusableError."""
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        raise UnusableError("is cut short")
    magic, maker, slots = _HEADER.unpack(header)
    if (magic, maker) != (_MAGIC, _maker()):
        raise UnusableError("is of another version, or of other decoders")
    return int(slots)


def _require_whole(descriptor: int, images: int) -> None:
    """Raises UnusableError where parts of the file, or slots for `images`, are missing."""
    slots = _read_header(descriptor)
    size = os.fstat(descriptor).st_size
    end = os.pread(descriptor, _END.size, _HEADER.size)
    if size < _first_pixels(slots) or size < _END.unpack(end)[0]:
        raise UnusableError("is cut short")
    if slots < _FEWEST_SLOTS * images:
        raise UnusableError("was made for fewer images")
