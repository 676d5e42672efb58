"""What `--data` can name of shards: a tar, a folder of them, a pattern such as `train-{000000..000012}.tar`, a URL.

Nothing is imported here that takes time: the command line asks whether a name is one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vision_tasks.errors import UserError

_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+):/+(?=[^/])", re.IGNORECASE)
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 1_000_000  # names of one pattern
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")


def is_url(name: str | Path) -> bool:
    """Whether shards lie elsewhere."""
    return _URL.match(str(name)) is not None


def is_name_of_shards(name: str | Path) -> bool:
    """Whether `name` is a pattern or a URL: what is there, no look at the disk can tell."""
    return is_url(name) or (_BRACES.search(str(name)) is not None and str(name).lower().endswith(".tar"))


def restored(path: Path) -> str:
    """The text that became `path`, which has one slash where a URL has two."""
    return _URL.sub(r"\1://", str(path), count=1) if is_url(path) else str(path)


def is_tar(name: str) -> bool:
    return name.lower().endswith(".tar")


def is_compressed_tar(name: str) -> bool:
    return name.lower().endswith(_COMPRESSED)


def expanded(pattern: str) -> list[str]:
    """The names that a pattern stands for, in its order. Raises UserError for more than a million.

    `{000..012}` counts, with as many digits as its first number has; `{train,val}` lists.
    """
    names = [""]
    rest = pattern
    while match := _BRACES.search(rest):
        parts = list(_parts(match[1], len(names)))
        names = [f"{name}{rest[: match.start()]}{part}" for name in names for part in parts]
        rest = rest[match.end() :]
    return [name + rest for name in names]


def _parts(inside: str, times: int) -> Iterator[str]:
    if found := _RANGE.fullmatch(inside):
        first, last = int(found[1]), int(found[2])
        if (last - first + 1) * times > _MOST:
            raise UserError(f"{{{inside}}}: stands for more than {_MOST} shards; name fewer")
        return (str(number).zfill(len(found[1])) for number in range(first, last + 1))
    return iter(inside.split(","))


def folder_of(name: str) -> str:
    """What stands before the last slash, the slash included."""
    return name[: name.rfind("/") + 1]


def file_of(name: str) -> str:
    """What stands behind the last slash, without the query of a URL."""
    last = name[name.rfind("/") + 1 :]
    return last.partition("?")[0] if "://" in name else last
