"""A process of a benchmark: `python -m vision_tasks.benchmarking.job FOLDER KIND ...`, which `processes.py` starts.

It ends with its parent: whoever kills a benchmark shall not find its training still at work.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from vision_tasks.errors import UserError

_ORPHANED = 3


def main(folder: str, kind: str, *arguments: str) -> int:
    """Do one thing; 0 done, 2 the input is wrong."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # Only now what takes seconds: the parent may be gone meanwhile.
    from vision_tasks.benchmarking.layout import Layout
    from vision_tasks.benchmarking.plan import read_plan
    from vision_tasks.benchmarking.step import KINDS

    try:
        KINDS[kind](Layout(Path(folder)), read_plan(Path(folder)), *arguments)
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def _end_with_the_parent() -> None:
    """The other end of the standard input closes when the parent ends, however it does."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
