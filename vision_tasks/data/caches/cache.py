"""Each image decoded once: what `read_image` gives, kept in a file that all threads and processes share.

Entries are keyed by the content of the image's file, the detail and the bands, never by its name: an edited file is
another one, a renamed one the same. All bytes of a file are read when a process meets it first; after that its size,
inode and times tell whether it is still that file. What lies many in a file, or in a shard, is not cached: it is in
memory already, or too large for it.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from vision_tasks.data.caches.file import KEY_BYTES, CacheFile
from vision_tasks.data.decode import Decoded, decode, read_image
from vision_tasks.data.limits import most_pixels
from vision_tasks.types import Bands, Size

Setting = tuple[Size | None, Bands | None]  # detail and bands: with a file's bytes, all that its pixels depend on


class _Seen(NamedTuple):
    stamp: int  # of an image's file
    slot: int | None  # its number; None: there was no room


class ImageCache:
    """Reads images as `read_image` does, from its file where they are in it; for any number of threads."""

    def __init__(self, file: CacheFile) -> None:
        self.file = file
        self._seen: dict[Setting, dict[Path, _Seen]] = {}
        self._told = False

    def __call__(self, path: Path, detail: Size | None = None, bands: Bands | None = None) -> Decoded:
        """What `read_image` gives and raises; the pixels may be read-only."""
        seen = self._seen.setdefault((detail, bands), {})
        try:
            # Before its bytes are read: an edit between the two is then noticed the next time.
            stamp = stamp_of(path)
            known = seen.get(path)
            if known is not None and known.stamp == stamp:
                return self.file.load(known.slot) if known.slot is not None else read_image(path, detail, bands)
            data = path.read_bytes()
        except OSError:
            return read_image(path, detail, bands)  # which words the reason
        key = content_key(data, detail, bands)
        slot = self.file.find(key)
        image = self.file.load(slot) if slot is not None else decode(data, detail, bands)
        seen[path] = _Seen(stamp, self.file.store(key, image) if slot is None else slot)
        return image

    def remark(self) -> str:
        """What users should know of it since they were told last; nothing most of the time."""
        told, self._told = self._told, bool(self.file.stopped)
        if told or not self.file.stopped:
            return ""
        return f"the cache takes no more images ({self.file.stopped}); the others are decoded each time"


def content_key(data: bytes, detail: Size | None, bands: Bands | None) -> bytes:
    """What an image is stored under; the limit counts as well: what is refused without a cache is refused with one."""
    setting = repr((detail, bands, most_pixels())).encode()
    return blake2b(data, digest_size=KEY_BYTES, key=blake2b(setting, digest_size=32).digest()).digest()


def stamp_of(path: Path) -> int:
    """A number that is another one after the file was written to, or replaced, also if its size and date are kept."""
    found = path.stat()
    return hash((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
