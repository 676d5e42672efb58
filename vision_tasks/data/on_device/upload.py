"""The way of decoded images to a device: packed by many threads into one piece of memory, which is copied at once.

On a machine with CUDA that memory is pinned, which takes long to make. So it is used again and again, and only after
what it held has been copied.
"""

from __future__ import annotations

from collections import deque
from threading import Lock

import torch
from torch import Tensor

from vision_tasks.data.on_device.side_stream import Mark
from vision_tasks.warp import Pixels

_LEAST = 1 << 20  # bytes
_ROOM = 1.25  # of what was needed once: batches differ


class Upload:
    """The decoded images of one batch; threads may `put` at the same time."""

    def __init__(self, pinned: bool) -> None:
        self._pinned, self._lock = pinned, Lock()
        self._allocate(_LEAST)
        self.clear()

    def clear(self) -> None:
        self._end = 0
        self._spilled: list[tuple[int, Pixels]] = []

    def put(self, pixels: Pixels) -> int:
        """Add an image; where it begins, in bytes."""
        with self._lock:
            start, self._end = self._end, self._end + pixels.size
            fits = self._end <= len(self._bytes)
            if not fits:
                self._spilled.append((start, pixels))
        if fits:
            self._write(start, pixels)
        return start

    def packed(self) -> Tensor:
        """All images, uint8 [bytes]; no thread may put another one meanwhile."""
        if self._spilled:
            kept = self._bytes[: self._spilled[0][0]]
            self._allocate(round(_ROOM * self._end))
            self._bytes[: len(kept)] = kept
            for start, pixels in self._spilled:
                self._write(start, pixels)
            self._spilled = []
        return self._buffer[: self._end]

    def _allocate(self, size: int) -> None:
        self._buffer = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        self._bytes = self._buffer.numpy()

    def _write(self, start: int, pixels: Pixels) -> None:
        self._bytes[start : start + pixels.size].reshape(pixels.shape)[...] = pixels


class Uploads:
    """Uploads that are used in turn: as many as there are batches on their way."""

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        self._free: deque[tuple[Upload, Mark]] = deque()

    def take(self) -> Upload:
        """An empty one. If it was used before, its last copy has ended."""
        if not self._free:
            return Upload(self._pinned)
        upload, copied = self._free.popleft()
        copied.wait()
        upload.clear()
        return upload

    def give_back(self, upload: Upload, copied: Mark) -> None:
        """It may be used again behind the mark `copied`."""
        self._free.append((upload, copied))
