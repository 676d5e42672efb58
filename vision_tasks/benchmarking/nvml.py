"""What NVIDIA's management library counts: energy and clocks of the devices that this process may use.

By `ctypes`, for it comes with the driver; where it is missing there is nothing to tell. Source: the NVML API reference.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

_SM_CLOCK = 1  # nvmlClockType_t


class Gpu:
    """The `index`-th device that this process may use. Raises OSError where the library or the device is missing."""

    def __init__(self, index: int) -> None:
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._handle = ctypes.c_void_p()
        self._ask("nvmlInit_v2")
        # The library numbers all devices of the machine, a process those that it was given.
        named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        name = named[index] if index < len(named) else str(index)
        if name.isdigit():
            self._ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(name)), ctypes.byref(self._handle))
        else:
            self._ask("nvmlDeviceGetHandleByUUID", name.encode(), ctypes.byref(self._handle))

    def joules(self) -> float:
        """Since the driver was loaded. Raises OSError where the device doesn't count."""
        millijoules = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    def megahertz(self) -> float:
        """Of the multiprocessors now. Raises OSError where the device doesn't tell."""
        clock = ctypes.c_uint()
        self._ask("nvmlDeviceGetClockInfo", self._handle, ctypes.c_int(_SM_CLOCK), ctypes.byref(clock))
        return float(clock.value)

    def _ask(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise OSError(f"{function} answered {code}")
