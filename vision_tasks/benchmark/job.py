"""A process of a benchmark: `python -m vision_tasks.benchmark.job FOLDER KIND ...`, which `run.py` starts and watches.

It ends with its parent: whoever kills a benchmark shall not find its training still at work.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from vision_tasks.benchmark.clock import take_times
from vision_tasks.benchmark.footprint import measure_footprint
from vision_tasks.benchmark.gallery import draw_gallery
from vision_tasks.benchmark.layout import Layout
from vision_tasks.benchmark.machine import devices
from vision_tasks.benchmark.plan import Plan, read_plan
from vision_tasks.benchmark.train import train_and_score
from vision_tasks.errors import UserError

_ORPHANED = 3


def _train(layout: Layout, plan: Plan, name: str, seed: str) -> None:
    train_and_score(layout, plan, plan.contender(name), int(seed) if seed else None)


def _footprint(layout: Layout, plan: Plan, name: str, device: str, engine: str) -> None:
    measure_footprint(layout, plan, plan.contender(name), device, engine)


def _clock(layout: Layout, plan: Plan) -> None:
    take_times(layout, plan, devices())


KINDS: Mapping[str, Callable[..., None]] = {
    "train": _train,
    "footprint": _footprint,
    "clock": _clock,
    "gallery": draw_gallery,
}


def main(folder: str, kind: str, *arguments: str) -> int:
    """Do one thing; 0 done, 2 the input is wrong."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
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
