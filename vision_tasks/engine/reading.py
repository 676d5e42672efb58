"""Images on their way through the loader: each is read once, and its hash is of the bytes that were decoded."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Never

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.sources import Item
from vision_tasks.engine.sources.item import digest
from vision_tasks.engine.upright import upright
from vision_tasks.tasks.tiling import OnDemand
from vision_tasks.types import Bands, Sample, Size, T
from vision_tasks.warp import Pixels


@dataclass
class Reading:
    """An image and, once it was read, the hash of what was."""

    item: Item
    sha256: str = ""

    def sample(self) -> Sample[Any]:
        """What the loader reads."""
        item = self.item
        if item.pixels is not None:
            return Sample(item.name, item.path, no_truth, pixels=self._pixels)
        return Sample(item.name, item.path, no_truth, data=self._data)

    def upright(self, bands: Bands | None) -> Pixels:
        """The whole original, read again. Raises DecodeError, also where the file is no longer the one it was."""
        return upright(replace(self.sample(), data=None if self.item.pixels is not None else self._same_data), bands)

    def _data(self) -> bytes:
        data = self.item.read()
        self.sha256 = digest(data)
        return data

    def _pixels(self) -> Pixels:
        assert self.item.pixels is not None
        pixels = self.item.pixels()
        self.sha256 = digest(pixels.data)
        return pixels

    def _same_data(self) -> bytes:
        data = self.item.read()
        if digest(data) != self.sha256:
            raise DecodeError("was replaced while it was read; the next call reads it anew")
        return data


@dataclass
class Readings(Generic[T]):
    """Those that are underway: a few batches, however long the walk is."""

    count: int = 0
    _samples: dict[int, Sample[T]] = field(default_factory=dict)
    _by_name: dict[str, Reading] = field(default_factory=dict)

    @property
    def samples(self) -> OnDemand[Sample[T]]:
        """By number; each can be had once."""
        return OnDemand(sys.maxsize, self._samples.pop)

    def begin(self, item: Item) -> Reading:
        """An image is underway from now on."""
        reading = self._by_name[item.name] = Reading(item)
        return reading

    def number(self, reading: Reading) -> int:
        """The number of a sample for the loader."""
        self._samples[self.count] = reading.sample()
        self.count += 1
        return self.count - 1

    def end(self, name: str) -> Reading:
        """The one that has come back."""
        return self._by_name.pop(name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name


def no_truth(size: Size | None) -> Never:
    raise AssertionError("nobody reads the truth of these images")
