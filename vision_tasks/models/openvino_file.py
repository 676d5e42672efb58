"""OpenVINO's files (the extra `openvino`): a graph, `.xml`, beside its numbers, `.bin`; run on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vision_tasks.device import Precision
from vision_tasks.errors import UserError
from vision_tasks.models.onnx_file import write_onnx
from vision_tasks.models.runtime import Opened, required

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
    return Opened(text, lambda: _Network(partial(_compiled, core, _taking_one(model), threads, precision), threads))


class _Network:
    """A network that gets images one by one: a single one by all threads, several of them side by side.

    Two threads at two images are faster than both at one, for neither waits for the other between layers; and what is
    said of an image depends on no other one, but for rounding where it is alone.
    """

    def __init__(self, compiled: Callable[[int], Any], threads: int) -> None:
        self._compiled = compiled  # for so many images at once
        self._threads = threads
        self._alone: Any = None
        self._side_by_side: _Requests | None = None

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images.detach().cpu().permute(0, 2, 3, 1).contiguous().numpy()
        if len(pixels) == 1:
            self._alone = self._alone or self._compiled(1)
            found = self._alone(pixels, share_inputs=True)
            return tuple(torch.from_numpy(found[place]) for place in range(len(self._alone.outputs)))
        wanted = max(2, min(len(pixels), self._threads))  # made for more than come, threads would have nothing to do
        if self._side_by_side is None or self._side_by_side.most < wanted:
            self._side_by_side = _Requests(self._compiled(wanted), wanted)
        return tuple(map(torch.from_numpy, self._side_by_side(pixels)))


class _Requests:
    """A compiled network that computes several images side by side, `most` at once."""

    def __init__(self, compiled: Any, most: int) -> None:
        self.most = most
        self._compiled = compiled
        self._shapes = [tuple(port.shape) for port in compiled.outputs]
        self._requests = self._made()

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Of pixels [B,H,W,C], the outputs [B,...]."""
        outputs = [np.empty((len(pixels), *shape[1:]), np.float32) for shape in self._shapes]
        try:
            self._fill(outputs, pixels)
        except BaseException:
            # Others may still write into the outputs; and one that failed would say so again whenever it is waited for.
            for request in self._requests:
                with suppress(Exception):
                    request.wait()
            self._requests = self._made()
            raise
        return outputs

    def _made(self) -> list[Any]:
        """As many as OpenVINO would have, and as many again, which wait in line: Python is slow to give the next."""
        count = 2 * self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        return [self._compiled.create_infer_request() for _ in range(count)]

    def _fill(self, outputs: Sequence[NDArray[np.float32]], pixels: NDArray[np.float32]) -> None:
        tensor = required("openvino", EXTRA).Tensor
        for row in range(len(pixels)):
            request = self._requests[row % len(self._requests)]
            request.wait()
            for place, output in enumerate(outputs):
                request.set_output_tensor(place, tensor(output[row : row + 1], shared_memory=True))
            request.start_async({0: pixels[row : row + 1]}, share_inputs=True)
        for request in self._requests:
            request.wait()


def _compiled(core: Any, model: Any, threads: int, precision: Precision, at_once: int) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],  # its own choice depends on the machine
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "THROUGHPUT" if at_once > 1 else "LATENCY",
        "PERFORMANCE_HINT_NUM_REQUESTS": at_once,
        "ENABLE_CPU_PINNING": False,  # threads that decode need cores, too
    }
    return core.compile_model(model, "CPU", settings)


def _taking_one(model: Any) -> Any:
    """`model` for a single image as it lies in memory, channels last: to turn it round would take a core."""
    openvino = required("openvino", EXTRA)
    shape = model.input().partial_shape
    shape[0] = 1
    model.reshape(shape)
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
