"""Which device and which precision, and Lightning Fabric set up for them."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from vision_tasks.errors import UserError, unknown_name

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["fp32", "bf16"]

# glibc's malloc.h: M_MMAP_MAX = 0, M_TRIM_THRESHOLD = the largest, M_TOP_PAD = 64 MiB.
_KEEP_MEMORY = ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20))


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where it is there; a device that is not there is the user's error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device '{name}' is not on this machine ({torch.cuda.device_count()} CUDA devices); use --device cpu"
        )
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto` is bfloat16 autocast where this machine's hardware gains from it, else float32."""
    if name == "bf16":
        return "bf16"
    if name == "fp32":
        return "fp32"
    if name != "auto":
        raise unknown_name("precision", name, ("auto", "fp32", "bf16"))
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _bf16_convolution_is_faster() else "fp32"


def finish(device: torch.device) -> None:
    """Wait until `device` has done all that it was given: what is asked of CUDA goes on while the program does."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def fabric_for(device: torch.device, processes: int = 1) -> Fabric:
    """Fabric on one device, or launched on one for each of `processes` (this program starts the others itself).

    Its own mixed precision would convert targets too; `autocast` serves instead.
    """
    from lightning_fabric import Fabric  # takes seconds, and who only predicts doesn't need it

    if processes == 1:
        fabric = Fabric(accelerator=device.type, devices=[device.index or 0] if device.type == "cuda" else 1)
    else:
        _check_processes(device, processes)
        # Its banner of ranks and addresses says nothing to users.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
        fabric = Fabric(accelerator=device.type, devices=processes, strategy="ddp")
    fabric.launch()
    return fabric


def _check_processes(device: torch.device, processes: int) -> None:
    if device.type == "cuda" and (str(device) != "cuda" or processes > torch.cuda.device_count()):
        raise UserError(
            f"{processes} processes need --device cuda and a device each; there are {torch.cuda.device_count()}"
        )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which networks run: bfloat16 where it is exact enough, or float32 throughout."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def full_float32() -> AbstractContextManager[None]:
    """The context in which float32 is that: convolutions on CUDA round to 10 bits of mantissa (TF32) otherwise."""
    now = torch.backends.cudnn
    return now.flags(
        enabled=now.enabled, benchmark=now.benchmark, deterministic=now.deterministic, allow_tf32=False
    )  # fmt: skip


def keep_freed_memory(device: torch.device) -> None:
    """Let a CPU training reuse its memory instead of returning it to the system at every step.

    The default C allocator of Linux unmaps large blocks when they are freed, so each step faults its activations in
    anew: 10 to 30 % of a step's time, measured (benchmarks/LOG.md), for 5 to 9 % more memory. Elsewhere this does
    nothing.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, other C libraries may not
    if mallopt is not None:
        for parameter, value in _KEEP_MEMORY:
            mallopt(parameter, value)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the machine's or the device's, was too small: torch says so in errors of several types."""
    told = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def describe(device: torch.device) -> str:
    """The device in words, for logs and environment records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def _bf16_convolution_is_faster() -> bool:
    """Some CPUs emulate bfloat16 at half the speed, others have units for it: a few milliseconds tell."""
    times = {}
    for kind in (torch.float32, torch.bfloat16):
        layer = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(kind).to(memory_format=torch.channels_last)
        images = torch.zeros(4, 64, 56, 56, dtype=kind).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            times[kind] = min(_seconds(layer, images) for _ in range(4))
    return times[torch.bfloat16] < 0.8 * times[torch.float32]


def _seconds(layer: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    layer(images)
    return time.perf_counter() - start
