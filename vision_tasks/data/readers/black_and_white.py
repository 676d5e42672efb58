"""Whether masks of two classes hold 0 and 255 for them, where 255 means ignored otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import TypeVar

from vision_tasks.types import IGNORE

_LOOKED_AT = 32  # masks at once
_Mask = TypeVar("_Mask")


def are_black_and_white(
    masks: Sequence[_Mask], values: Callable[[Sequence[_Mask]], Collection[int]], ignored: Collection[int] = ()
) -> bool:
    """Whether some of `masks` hold 0 and 255 and, but for what is `ignored`, nothing else, as their `values` say.

    They are spread over all. Objects may be rare: where all that was looked at has the same value, more are, up to all.
    """
    step = max(1, -(-len(masks) // _LOOKED_AT))
    others = iter([mask for i, mask in enumerate(masks) if i % step])
    part, found = masks[::step], set[int]()
    while part and len(found) < 2:
        found |= {*values(part)} - {*ignored}
        part = list(islice(others, _LOOKED_AT))
    return found == {0, IGNORE}
