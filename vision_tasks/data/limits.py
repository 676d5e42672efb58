"""How much is too much to be decoded or unpacked: limits that the user can raise by environment variables."""

from __future__ import annotations

import os
from functools import cache

from vision_tasks.errors import UserError


@cache
def most_pixels() -> int:
    """`VISION_TASKS_MAX_PIXELS`: larger images are refused before they are decoded. Raises UserError."""
    return _limit("VISION_TASKS_MAX_PIXELS", 2**28)


@cache
def most_bytes() -> int:
    """`VISION_TASKS_MAX_BYTES`: a file that declares more of them is not unpacked. Raises UserError."""
    return _limit("VISION_TASKS_MAX_BYTES", 2**32)


def _limit(variable: str, usual: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return usual
    try:
        limit = int(float(text))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UserError(f"the environment variable {variable} is '{text}'; it takes a number such as {usual} or 1e9")
    return limit
