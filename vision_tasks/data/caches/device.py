"""Decoded images that stay on the device from epoch to epoch.

They are known by the name and the state of their file, so that an edited one is decoded again. What was uploaded with
one batch is kept in one piece, without a copy, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vision_tasks.data.caches.cache import Setting, stamp_of
from vision_tasks.data.on_device.notes import Noted
from vision_tasks.data.on_device.originals import Key, Original, no_pixels


class DeviceCache:
    """Images on a device, up to `budget` bytes; any number of threads may look for them."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._known: dict[Key, Original] = {}
        self._full = self._told = False

    @staticmethod
    def key(path: Path, setting: Setting) -> Key | None:
        """What a file as it is now is kept under; None where it can't be looked at. To be asked before it is read."""
        try:
            return path, stamp_of(path), setting
        except OSError:
            return None

    def find(self, key: Key) -> Original | None:
        return self._known.get(key)

    def keep(self, uploaded: Tensor, patches: Sequence[Noted]) -> None:
        """Keep what lies in `uploaded` uint8 [bytes], and what a device has decoded, as far as there is room."""
        # An image may be on its way twice, in the tiles of a mosaic or in batches that follow closely.
        coming = {
            patch.original.key: patch for patch in patches if patch.original is not None and patch.original.held is None
        }
        new = [patch for key, patch in coming.items() if key is not None and key not in self._known]
        if any(patch.held is None for patch in new) and self._reserve(len(uploaded)):
            for patch in new:
                if patch.held is None:
                    height, width = patch.size
                    self._add(patch, uploaded[patch.start : patch.start + 3 * height * width])
        for patch in new:
            if patch.held is not None and self._reserve(len(patch.held)):
                self._add(patch, patch.held)

    def remark(self) -> str:
        """What users should know of it since they were told last."""
        told, self._told = self._told, self._full
        if told or not self._full:
            return ""
        return "the cache on the device takes no more images (it is full); the others are decoded each time"

    def _reserve(self, size: int) -> bool:
        if self.used + size > self.budget:
            self._full = True
            return False
        self.used += size
        return True

    def _add(self, patch: Noted, pixels: Tensor) -> None:
        original = patch.original
        assert original is not None
        assert original.key is not None
        self._known[original.key] = replace(
            original, pixels=no_pixels(patch.size), key=original.key, held=pixels, jpeg=None, grey=patch.grey
        )
