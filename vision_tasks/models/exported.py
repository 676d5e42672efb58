"""Exported files as models: the network runs elsewhere, what its tensors mean is read as ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Never

import torch
from torch import Tensor, nn

from vision_tasks.device import Precision
from vision_tasks.errors import UserError
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.checkpoint import KEY, ModelCard, header_of, parse_header
from vision_tasks.models.decoding import Decoder, decoder_of, described
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.onnx_file import open_onnx, write_onnx
from vision_tasks.models.openvino_file import open_openvino, write_openvino
from vision_tasks.models.registry import model_entry
from vision_tasks.models.runtime import Opened, Run
from vision_tasks.types import Size, T

_DECODER = "decoder"  # of the header's `extra`

_OPEN: Mapping[str, Callable[[Path, str, int], Opened]] = {".onnx": open_onnx, ".xml": open_openvino}
_WRITE: Mapping[str, Callable[[Path, nn.Module, Tensor, tuple[str, str]], None]] = {
    ".onnx": write_onnx,
    ".xml": write_openvino,
}


class ExportedModel(Exportable[T]):
    """A file that takes one canvas only, and can't learn."""

    def __init__(self, info: ModelInfo, run: Run, decoder: Decoder[T], canvas: Size) -> None:
        super().__init__()
        self.info = info
        self.canvas = canvas
        self._run = run
        self._decoder = decoder

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.to(images.device) for output in self._run(images))

    @property
    def decoder(self) -> Decoder[T]:
        return self._decoder

    def forward(self, images: Tensor, targets: T) -> Never:
        raise UserError(f"an exported {self.info.name} can't be trained; take the checkpoint it was made from")

    @property
    def backbone(self) -> Never:
        raise UserError(f"an exported {self.info.name} has no parts; take the checkpoint it was made from")


def write_exported(path: Path, model: Exportable[Any], card: ModelCard) -> None:
    """Write `model` for the canvas of `card`, in the format that the path's ending says.

    Raises UserError where an extra is missing.
    """
    carried = replace(card, extra={_DECODER: described(model.decoder), "tensors": digest_of(model)})
    images = random_images(card, 2)
    _WRITE[path.suffix](path, _Outputs(model).eval(), images, (KEY, header_of(carried)))


def load_exported(
    path: Path, threads: int | None = None, precision: Precision = "fp32"
) -> tuple[ExportedModel[Any], ModelCard]:
    """The model of an ONNX or OpenVINO file of ours; it runs on the CPU by `threads`, by default as many as torch's.

    Of these two only OpenVINO computes in another `precision` than float32.

    Raises UserError for files that are not ours, are damaged, or keep tensors elsewhere.
    """
    opened = _opened(path, threads, precision)
    if opened.header is None:
        raise UserError(f"{path} was not written by `vision-tasks export`: it doesn't say what it predicts")
    card = parse_header(path, opened.header)
    try:
        decoder = decoder_of(card.extra[_DECODER])
    except (ValueError, KeyError):
        raise UserError(f"{path} is damaged: what it says of its outputs can't be read; export it again") from None
    return ExportedModel(_info(card), opened.start(), decoder, card.input.canvas).eval(), card


def write_part(path: Path, part: nn.Module, images: Tensor) -> None:
    """Write a part of a network, which takes `images`, in the format that the path's ending says."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder) / path.name
        _WRITE[path.suffix](draft, part.eval(), images, (KEY, "part"))
        for each in sorted(Path(folder).iterdir()):  # numbers before the graph that looks for them
            each.replace(path.with_suffix(each.suffix))


def start_part(path: Path, precision: Precision = "fp32") -> Run:
    """What `write_part` wrote, by as many threads as torch's."""
    return _opened(path, None, precision).start()


def _opened(path: Path, threads: int | None, precision: Precision) -> Opened:
    suffix = path.suffix.lower()
    open_file = partial(open_openvino, precision=precision) if suffix == ".xml" else _OPEN[suffix]
    return open_file(path, KEY, threads or torch.get_num_threads())


def digest_of(model: nn.Module) -> str:
    """What differs where a tensor does; in a graph it tells apart those whose numbers lie beside it."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def random_images(card: ModelCard, count: int) -> Tensor:
    """The same for the same card: noise, dark to bright, float32 [count,C,H,W]."""
    shape = (count, card.input.channels, *card.input.canvas)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return noise * torch.linspace(0.2, 1, count).view(-1, 1, 1, 1)


class _Outputs(nn.Module):
    """A model as exporters want it: called with images, it gives tensors."""

    def __init__(self, model: Exportable[Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model.outputs(images)


def _info(card: ModelCard) -> ModelInfo:
    entry = model_entry(card.name)
    return ModelInfo(
        card.name,
        entry.family,
        card.classes,
        entry.size_multiple,
        card.code_licence,
        card.weights_licence,
        card.input.channels,
        card.exclusive,
        card.class_ids,
    )
