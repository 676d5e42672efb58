"""The index of a shard: which files it holds, and where; and what its small texts (labels) say.

It is made by one pass over the headers, and kept as JSON: beside the shard as `NAME.tar.index.json`, where whoever
wrote the shards has put it, or else in the user's cache. An index is taken only for a shard of the same size whose
first and last 64 KiB are the same, and from the cache only if the medium knows of no change either; else it is made
anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vision_tasks.data.shards.media import Shard, read_whole
from vision_tasks.data.shards.tar_headers import Member, Read, list_members
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.download import cache_folder
from vision_tasks.errors import UserError
from vision_tasks.files import write_text

VERSION = 1
ENDING = ".index.json"

_TEXTS = (".cls", ".json", ".txt")
_MOST_TEXT = 1 << 22  # bytes of one; a scene of ten thousand boxes has fewer
_LOOKED_AT = 1 << 16  # bytes at each end


@dataclass(frozen=True)
class ShardIndex:
    """What lies in one shard."""

    size: int  # of the shard, in bytes
    ends: str  # a digest of its first and last bytes
    members: tuple[Member, ...]
    texts: Mapping[str, str]  # by the names of their members
    problem: str = ""  # why it ends before its end; "" if it doesn't

    def dumped(self, stamp: str = "") -> str:
        """As JSON; with a stamp, where it is kept by one who knows the medium."""
        kept: dict[str, Any] = {"version": VERSION, "size": self.size, "ends": self.ends, "stamp": stamp}
        kept |= {"problem": self.problem, "texts": dict(self.texts), "members": self.members}
        return json.dumps(kept, separators=(",", ":"))


def index_of(shard: Shard) -> ShardIndex:
    """The index of `shard`, from beside it, from the cache, or made and put there. Raises UserError."""
    size, stamp = shard.state()
    ends = _ends(shard, size)
    if (beside := _loaded(_beside(shard), size, ends, "")) is not None:
        return beside
    place = cache_folder() / "shards" / (sha256(_key(shard.name)).hexdigest()[:32] + ".json")
    if (cached := _loaded(_text(place), size, ends, stamp)) is not None:
        return cached
    made = make_index(shard, size, ends)
    _keep(place, made.dumped(stamp))
    return made


def make_index(shard: Shard, size: int | None = None, ends: str | None = None) -> ShardIndex:
    """By a pass over the headers; what is wrong with the shard ends it. Raises UserError where it can't be read."""
    size = shard.state().size if size is None else size
    ends = _ends(shard, size) if ends is None else ends
    with shard.reading() as read:
        try:
            members, problem = list_members(read, size)
            texts = {member.name: _text_in(read, member) for member in members if _is_small_text(member)}
        except DecodeError as error:  # it shrinks while it is read
            members, problem, texts = (), str(error), {}
    return ShardIndex(size, ends, members, texts, problem)


def _is_small_text(member: Member) -> bool:
    return member.name.lower().endswith(_TEXTS) and member.size <= _MOST_TEXT


def _text_in(read: Read, member: Member) -> str:
    return read(member.offset, member.size).decode("utf-8-sig", "surrogateescape")


def _ends(shard: Shard, size: int) -> str:
    try:
        first = shard.read(0, min(size, _LOOKED_AT))
        last = shard.read(max(0, size - _LOOKED_AT), min(size, _LOOKED_AT))
    except DecodeError as error:
        raise UserError(f"{shard.name}: can't be read: {error}") from error
    return sha256(first + last).hexdigest()


def _key(name: str) -> bytes:
    return (name if "://" in name else str(Path(name).absolute())).encode("utf-8", "surrogateescape")


def _beside(shard: Shard) -> str | None:
    if "?" in shard.name and "://" in shard.name:  # what signs one address signs no other
        return None
    return _as_text(read_whole(shard.name + ENDING))


def _text(path: Path) -> str | None:
    try:
        return _as_text(path.read_bytes())
    except OSError:
        return None


def _as_text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def _keep(place: Path, text: str) -> None:
    """In the cache; one that can't be written costs time, and nothing else."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, text)
    except OSError:
        pass


def _loaded(text: str | None, size: int, ends: str, stamp: str) -> ShardIndex | None:
    """An index that was kept, if it is one of this shard."""
    try:
        kept = json.loads(text or "null")
        known = (kept["version"], kept["size"], kept["ends"], kept["stamp"])
        if known != (VERSION, size, ends, stamp):
            return None
        members = tuple(Member(str(name), int(start), int(length)) for name, start, length in kept["members"])
        texts = {str(name): str(said) for name, said in kept["texts"].items()}
        problem = str(kept["problem"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # no index, whatever it is
        return None
    inside = all(0 <= member.offset <= member.offset + member.size <= size for member in members)
    return ShardIndex(size, ends, members, texts, problem) if inside else None
