"""Writes samples into tar shards of about one size. The same samples give the same bytes: no times, no owners."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from vision_tasks.data.shards.index import ENDING, make_index
from vision_tasks.data.shards.media import NearShard
from vision_tasks.files import write_text

_BLOCK = 512  # bytes, of which a tar is made


class ShardWriter:
    """Writes `PREFIX-000000.tar`, `PREFIX-000001.tar`, ... into a folder, each with its index beside it."""

    def __init__(self, folder: Path, prefix: str, size: int) -> None:
        self.samples: dict[str, int] = {}  # of each shard, by its name
        self._folder, self._prefix, self._most = folder, prefix, size
        self._tar: tarfile.TarFile | None = None
        self._name, self._written = "", 0

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Write one sample, its members by their extensions; a shard holds one at least."""
        length = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in members.values())
        if self._tar is not None and self._written + length > self._most:
            self.close()
        tar = self._tar or self._begun()
        for extension, data in members.items():
            header = tarfile.TarInfo(f"{key}.{extension}")  # mode 0644, time 0, owner 0
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        self._written += length
        self.samples[self._name] += 1

    def close(self) -> None:
        """End the last shard."""
        if self._tar is not None:
            self._tar.close()
            path = self._folder / self._name
            write_text(path.with_name(path.name + ENDING), make_index(NearShard(path)).dumped())
            self._tar = None

    def _begun(self) -> tarfile.TarFile:
        self._name, self._written = f"{self._prefix}-{len(self.samples):06}.tar", 0
        self.samples[self._name] = 0
        self._tar = tarfile.open(self._folder / self._name, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        return self._tar
