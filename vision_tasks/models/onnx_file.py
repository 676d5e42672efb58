"""ONNX files (the extra `onnx`): written by torch's exporter, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision_tasks.errors import UserError
from vision_tasks.models.runtime import Opened, required

EXTRA = "onnx"
_INPUT = "images"


def write_onnx(path: Path, network: nn.Module, images: Tensor, header: tuple[str, str]) -> None:
    """Write `network` as traced on two or more images [B,C,H,W]: B stays free, the canvas is fixed.

    A free canvas would be free only in name: decoders of masks, and heads that lay out anchors, take its sides as
    numbers while they are traced. `header` is a key and text that the file carries.
    """
    for package in ("onnx", "onnxscript"):
        required(package, EXTRA)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=[_INPUT],
                dynamic_shapes={_INPUT: {0: torch.export.Dim("batch", min=1)}},
            )
    except torch.onnx.OnnxExporterError as problem:
        reason = str(problem.__cause__ or problem).strip().splitlines()[0]
        raise UserError(f"{path.name}: torch can't write this network as ONNX ({reason}); use --to torch") from problem
    assert program is not None
    key, text = header
    program.model.metadata_props[key] = text
    program.save(str(path), external_data=False)


def open_onnx(path: Path, key: str, threads: int) -> Opened:
    """What the file carries under `key`, and the network, which takes batches of its canvas.

    Raises UserError for what is no ONNX file, and for one whose tensors lie in other files: whose, it would say itself.
    """
    onnx, runtime = required("onnx", EXTRA), required("onnxruntime", EXTRA)
    content = path.read_bytes()
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except import_module("google.protobuf.message").DecodeError:
        raise UserError(f"{path} is not an ONNX file, or is damaged") from None
    if not proto.graph.node:
        raise UserError(f"{path} is not an ONNX file, or is damaged")
    if any(_lies_elsewhere(message, onnx) for message in _messages(proto)):
        raise UserError(f"{path} keeps tensors in other files, which are not read; export it as one file")
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(key)
    return Opened(text, lambda: _session(runtime, path, content, threads))


def _session(runtime: Any, path: Path, content: bytes, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait by spinning take the cores from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # of a dozen types, made in C++
        reason = str(problem).splitlines()[0]
        raise UserError(f"{path} can't be run by ONNX Runtime ({reason}); export it again") from problem
    (taken,) = session.get_inputs()

    def run(images: Tensor) -> tuple[Tensor, ...]:
        array = images.detach().cpu().contiguous().numpy()
        return tuple(torch.from_numpy(output) for output in session.run(None, {taken.name: array}))

    return run


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all within it, those of subgraphs and functions too."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(part)


def _lies_elsewhere(message: Any, onnx: Any) -> bool:
    if not isinstance(message, onnx.TensorProto):
        return False
    return bool(message.external_data) or message.data_location == onnx.TensorProto.EXTERNAL


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells its developers much that users can't mend; what it wrote is compared afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
