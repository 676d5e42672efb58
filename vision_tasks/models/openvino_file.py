"""OpenVINO's files (the extra `openvino`): a graph, `.xml`, beside its numbers, `.bin`; run on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from vision_tasks.device import Precision
from vision_tasks.errors import UserError
from vision_tasks.models.onnx_file import write_onnx
from vision_tasks.models.runtime import Opened, Run, required

EXTRA = "openvino"
_TYPES = {"fp32": "f32", "bf16": "bf16"}


def write_openvino(path: Path, network: nn.Module, images: Tensor, header: tuple[str, str]) -> None:
    """Write `path` and, beside it, its `.bin`; see `write_onnx`, which it goes through.

    OpenVINO reads torch's programs itself, too, but took ten times as long for them.
    """
    openvino = required("openvino", EXTRA)
    key, text = header
    with TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        write_onnx(between, network, images, header)
        model = openvino.Core().read_model(between)  # its `convert_model` does the same, and reports to its makers
        # A text as it stands would come back changed: what looks like a number, or a list, is read as one.
        model.set_rt_info(json.dumps(text), [key])
        openvino.save_model(model, path, compress_to_fp16=False)


def open_openvino(path: Path, key: str, threads: int, precision: Precision = "fp32") -> Opened:
    """What the file carries under `key`, and the network. Raises UserError for files that are not OpenVINO's."""
    openvino = required("openvino", EXTRA)
    if not path.with_suffix(".bin").is_file():
        raise UserError(f"{path.with_suffix('.bin')} is missing: {path.name} has its numbers there")
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError:
        raise UserError(f"{path} is not an OpenVINO model, or is damaged") from None
    text = json.loads(model.get_rt_info([key]).value) if model.has_rt_info([key]) else None
    return Opened(text, lambda: _compiled(core, model, threads, precision))


def _compiled(core: Any, model: Any, threads: int, precision: Precision) -> Run:
    settings = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],  # its own choice depends on the machine
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",  # all threads at one batch
        "ENABLE_CPU_PINNING": False,  # threads that decode need cores, too
    }
    compiled = core.compile_model(_taking_channels_last(model), "CPU", settings)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.detach().cpu().permute(0, 2, 3, 1).contiguous()
        found = compiled(pixels.numpy(), share_inputs=True)
        return tuple(torch.from_numpy(found[place]) for place in range(len(compiled.outputs)))

    return run


def _taking_channels_last(model: Any) -> Any:
    """Images lie in memory like that; to turn them round would take a core while the others wait."""
    openvino = required("openvino", EXTRA)
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
