"""Devices: what they say when their memory is too small."""

from __future__ import annotations

import pytest
import torch

from vision_tasks.device import is_out_of_memory


def test_what_says_that_memory_is_too_small() -> None:
    with pytest.raises(RuntimeError) as on_cpu:
        torch.zeros(10**15)
    for error in (on_cpu.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")):
        assert is_out_of_memory(error)
    for other in (RuntimeError("size mismatch"), ValueError("DefaultCPUAllocator")):
        assert not is_out_of_memory(other)
