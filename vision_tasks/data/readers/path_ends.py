"""The ways in which a file may name an image: by its path, or by any end of it."""

from __future__ import annotations

from collections.abc import Iterator


def ends(path: str) -> Iterator[str]:
    """`a/b/c`, `b/c` and `c` of `a/b/c`."""
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path
