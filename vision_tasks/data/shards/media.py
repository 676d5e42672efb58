"""Where shards lie, and how parts of them are read: files here, and files anywhere that fsspec reaches.

Far shards are fetched in blocks (`shard_blocks`), so that samples side by side cost one request. A request that fails
is tried again; if the connection stays away, that is an error, and not a reason to leave samples out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from vision_tasks.data.limits import most_bytes
from vision_tasks.data.shards.blocks import Blocks
from vision_tasks.data.shards.names import is_url
from vision_tasks.data.shards.tar_headers import Read
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError

_TRIES = 4
_PAUSE = 0.25  # seconds, doubled before each further try


class State(NamedTuple):
    """What a medium says of a shard."""

    size: int  # bytes
    stamp: str  # something that changes when the shard does; "" where the medium has nothing of the kind


class Shard(Protocol):
    """A tar of samples."""

    @property
    def name(self) -> str:
        """Its path or URL."""

    def state(self) -> State:
        """As it is now. Raises UserError where it isn't there."""

    def reading(self) -> AbstractContextManager[Read]:
        """A context in which parts are read one after the other."""

    def read(self, start: int, length: int) -> bytes:
        """Some of its bytes; for any number of threads. Raises DecodeError where it doesn't have as many."""


@dataclass(frozen=True)
class NearShard:
    """A shard in a file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def state(self) -> State:
        try:
            found = self.path.stat()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise (MissingError if missing else UserError)(f"{self.path}: {error.strerror}; check --data") from error
        return State(found.st_size, str(found.st_mtime_ns))

    @contextmanager
    def reading(self) -> Iterator[Read]:
        with FileIO(self.path) as file:
            yield partial(_read_from, file)

    def read(self, start: int, length: int) -> bytes:
        try:
            with FileIO(self.path) as file:
                return _read_from(file, start, length)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from error


def _read_from(file: FileIO, start: int, length: int) -> bytes:
    file.seek(start)
    return _complete(file.read(length), length)


def _complete(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise DecodeError("its shard ends before it: it has changed, or was cut, since it was opened")
    return data


@dataclass(frozen=True)
class FarShard:
    """A shard behind a URL."""

    name: str
    blocks: Blocks

    def state(self) -> State:
        system, path = _file_system(self.name)
        info = _persistently(self.name, lambda: system.info(path))
        if info.get("size") is None:
            raise UserError(f"{self.name}: the server doesn't say how large it is; download the shards")
        known = (info.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "updated"))
        return State(int(info["size"]), next((str(stamp) for stamp in known if stamp is not None), ""))

    @contextmanager
    def reading(self) -> Iterator[Read]:
        yield self.read

    def read(self, start: int, length: int) -> bytes:
        return _complete(self.blocks.read(self.name, start, length), length)


def shards_named(names: list[str]) -> list[Shard]:
    """The shards of these paths and URLs; the far ones share what is held of them."""
    blocks = Blocks(_fetch)
    return [FarShard(name, blocks) if is_url(name) else NearShard(Path(name)) for name in names]


def read_whole(name: str) -> bytes | None:
    """A file of any place, None where there is none. Raises UserError where it can't be read, or is too large."""
    try:
        if not is_url(name):
            return Path(name).read_bytes()
        system, path = _file_system(name)
        size = _persistently(name, lambda: system.info(path)).get("size")
        if size is not None and size > most_bytes():
            raise UserError(f"{name}: has {size} bytes; raise VISION_TASKS_MAX_BYTES if that is meant to be")
        return bytes(_persistently(name, lambda: system.cat_file(path)))
    except (FileNotFoundError, MissingError):
        return None
    except OSError as error:
        raise UserError(f"{name}: can't be read: {error.strerror or error}") from error


class MissingError(UserError):
    """Whoever answers for that place has no such file."""


def _fetch(url: str, start: int, end: int) -> bytes:
    system, path = _file_system(url)
    data = bytes(_persistently(url, lambda: system.cat_file(path, start=start, end=end)))
    if len(data) > end - start:
        raise UserError(f"{url}: the server gives whole files only, and no parts of them; download the shards")
    return data


def _file_system(url: str) -> tuple[Any, str]:
    """What reads `url`, and what it calls it. fsspec remembers its connections."""
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        system, path = url_to_fs(url)
    except ImportError as error:
        raise UserError(f"{url}: needs a package ({error}); pip install 'vision-tasks[shards]'") from error
    except ValueError as error:
        raise UserError(f"{url}: {error}; check --data") from error
    return system, path


def _persistently(url: str, ask: Callable[[], Any]) -> Any:
    """What `ask` returns, which may fail now and then. Raises UserError."""
    failed: BaseException | None = None
    for number in range(_TRIES):
        time.sleep(_PAUSE * 2**number if number else 0)
        try:
            return ask()
        except FileNotFoundError as error:
            # A server that can't be reached is "not found", too; one that answers has given a status.
            if error.__cause__ is None or hasattr(error.__cause__, "status"):
                raise MissingError(f"{url}: isn't there; check --data") from error
            failed = error.__cause__
        except PermissionError as error:
            raise UserError(f"{url}: may not be read ({error}); check the credentials") from error
        except Exception as error:  # each of fsspec's systems has its own
            failed = error
    said = str(failed) or type(failed).__name__
    raise UserError(f"{url}: can't be read ({said}); check the connection, then go on with --resume") from failed
