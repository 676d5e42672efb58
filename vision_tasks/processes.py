"""Which of the processes that train together speaks; light, because the command line asks before torch is loaded."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this process speaks and writes for all that train together; known before they have met."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))
