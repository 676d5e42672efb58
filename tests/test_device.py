"""Devices: what they say when their memory is too small, and how exact they are."""

from __future__ import annotations

import pytest
import torch

from vision_tasks.device import full_float32, is_out_of_memory
from vision_tasks.engine.evaluate import Inference


def test_what_says_that_memory_is_too_small() -> None:
    with pytest.raises(RuntimeError) as on_cpu:
        torch.zeros(10**15)
    for error in (on_cpu.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")):
        assert is_out_of_memory(error)
    for other in (RuntimeError("size mismatch"), ValueError("DefaultCPUAllocator")):
        assert not is_out_of_memory(other)


def test_predictions_are_in_full_float32_and_nothing_else_is_changed() -> None:
    class Model:
        def predict(self, images: torch.Tensor) -> bool:
            return torch.backends.cudnn.allow_tf32

    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    assert Inference(Model(), torch.device("cpu"), "fp32")(torch.zeros(1)) is False  # type: ignore[arg-type, comparison-overlap]
    with full_float32():
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (*before[:3], False)
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before
