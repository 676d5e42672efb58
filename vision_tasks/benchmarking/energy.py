"""How much energy a device takes meanwhile, where it counts that itself.

CPUs of Intel and AMD do, if the system lets users read it (Linux's powercap: one counter a package, in microjoules,
which starts anew when it is full); NVIDIA's GPUs by their management library. Both count everything that runs there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Self

import torch

from vision_tasks.benchmarking.nvml import Gpu

_POWERCAP = Path("/sys/class/powercap")
_SECONDS = 20.0  # between looks at counters; the fastest is full after a minute or more

Counter = Callable[[], tuple[float, float]]  # joules since an unknown beginning, and those at which it starts anew


class Meter:
    """Counts in its block; `joules` is None where the device doesn't tell."""

    def __init__(self, device: torch.device, counters: list[Counter] | None = None) -> None:
        self._counters = _counters(device) if counters is None else counters
        self._last: list[float] = []
        self._sum = 0.0
        self._known = bool(self._counters)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def joules(self) -> float | None:
        """Since the block began."""
        return self._sum if self._known else None

    def look(self) -> None:
        """Add what was used since the last look."""
        try:
            now = [counter() for counter in self._counters]
        except OSError:  # it was there before; what is missing now makes the sum worthless
            self._known = False
            return
        for (value, limit), before in zip(now, self._last, strict=False):
            self._sum += value - before if value >= before else value + limit - before
        self._last = [value for value, _ in now]

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS):
            self.look()


def _counters(device: torch.device) -> list[Counter]:
    return _of_gpu(device.index or 0) if device.type == "cuda" else _of_packages(_POWERCAP)


def _of_packages(folder: Path) -> list[Counter]:
    """A counter for each processor package that can be read; empty if one can't."""
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        for zone in zones:
            _read(zone)
    except (OSError, ValueError):
        return []
    return [lambda zone=zone: _read(zone) for zone in zones]  # type: ignore[misc]  # mypy knows no such default


def _read(zone: Path) -> tuple[float, float]:
    used, limit = (float((zone / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj"))
    return used, limit


def _of_gpu(index: int) -> list[Counter]:
    """The counter of the `index`-th device that this process may use; empty where it has none."""
    try:
        gpu = Gpu(index)
        gpu.joules()
    except OSError:
        return []
    return [lambda: (gpu.joules(), inf)]
