"""Where a benchmark runs: devices, cores, memory, clocks, load, versions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from vision_tasks.benchmarking.nvml import Gpu
from vision_tasks.benchmarking.record import Machine
from vision_tasks.device import choose_device, describe
from vision_tasks.engine.run_folder import environment

_FREQUENCIES = Path("/sys/devices/system/cpu")
_CPU_INFO = Path("/proc/cpuinfo")


def devices() -> tuple[str, ...]:
    """What models are clocked on: the CPU, and CUDA where it is there."""
    return ("cpu",) if choose_device("auto").type == "cpu" else ("cpu", "cuda")


def clocks() -> dict[str, float]:
    """The present frequencies in MHz, of the CPU the mean of its cores; only of devices that tell."""
    cores, found = _of_cores(), {}
    if cores:
        found["cpu"] = mean(cores)
    if "cuda" in devices():
        with suppress(OSError):
            found["cuda"] = Gpu(0).megahertz()
    return found


def _of_cores() -> list[float]:
    now = [float(file.read_text()) / 1e3 for file in _FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    if not now and _CPU_INFO.exists():
        lines = _CPU_INFO.read_text().splitlines()
        now = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return now


def load() -> float | None:
    """Processes of the whole machine that want to run, the mean of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def machine(measured: Any) -> Machine:
    """The record; `measured` is what the clock's process said of clocks and load, if it is done."""
    told = environment("", "")
    return Machine(
        devices={name: describe(torch.device(name)) for name in devices()},
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_bytes=_memory(),
        clock_mhz=_both(measured["clocks"]) if measured else {},
        load=_pair(measured["load"]) if measured else None,
        system=told["system"], python=told["python"], versions=told["versions"],
    )  # fmt: skip


def _both(found: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    before, after = found
    return {name: (before[name], after[name]) for name in before if name in after}


def _pair(found: Sequence[float | None]) -> tuple[float, float] | None:
    before, after = found
    return None if before is None or after is None else (before, after)


def _memory() -> int | None:
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not set(names) <= os.sysconf_names.keys():
        return None
    size, pages = map(os.sysconf, names)
    return size * pages
