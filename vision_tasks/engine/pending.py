"""Which images of a walk are still to be predicted: not those that an earlier call has done, if they are the same."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.image_writer import ImageWriter
from vision_tasks.engine.sources import Item
from vision_tasks.engine.store import GONE, Known, Outcomes
from vision_tasks.types import Failure


class Pending(NamedTuple):
    """An image to be predicted."""

    item: Item  # which can be read at any time
    again: bool  # whether an earlier call has failed to


def pending(
    walk: Iterable[Item | Failure], store: Outcomes, writer: ImageWriter[Any], underway: Container[str]
) -> Iterator[Pending]:
    """Those images of `walk` that are to be predicted; its failures, and what can't be fetched, are written at once.

    An image that comes a second time, by another source, is left out.
    """
    for each in walk:
        known = store.known(each.name if isinstance(each, Item) else each.id)
        if isinstance(each, Failure):
            if not (known and known.current and known.failed):
                with writer.kept():
                    writer.note(each.id, GONE, each.reason)
        elif each.name not in underway and not _is_done(each, known, store):
            try:
                yield Pending(each.fetched(), known is not None and known.failed)
            except DecodeError as error:
                with writer.kept():
                    writer.fail(each.name, each.version, str(error))


def _is_done(item: Item, known: Known | None, store: Outcomes) -> bool:
    """Whether what is known of the image holds; a failure only in the call that met it, as its cause may have gone."""
    if known is None or (known.failed and not known.current):
        return False
    if known.version == item.version or (not known.failed and _has_same_content(item, known)):
        store.keep(item.name, item.version)
        return True
    return False


def _has_same_content(item: Item, known: Known) -> bool:
    """A file of the same size that was touched may still be the same."""
    try:
        return known.version.bytes == item.version.bytes and known.sha256 == item.sha256()
    except DecodeError:
        return False
