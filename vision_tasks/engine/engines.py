"""What computes a network's tensors: torch as it is or compiled, ONNX Runtime or OpenVINO."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision_tasks.device import choose_device, choose_precision
from vision_tasks.download import cache_folder
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.export import FORMATS, export_model
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import ModelCard, header_of
from vision_tasks.models.decoding import Decoder
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import ExportedModel, digest_of, load_exported, random_images
from vision_tasks.models.folding import folded
from vision_tasks.models.temperature import temperature_of

AUTO = "auto"
FOLDER = "engines"  # in the cache


class Compiled(Exportable[Any]):
    """A model whose tensors a compiled function gives."""

    def __init__(self, model: Exportable[Any]) -> None:
        super().__init__()
        self.info = model.info
        self.model = model
        self._compiled = torch.compile(model.outputs)

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._compiled(images)
        return found

    @property
    def decoder(self) -> Decoder[Any]:
        return self.model.decoder

    def forward(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        return self.model(images, targets)  # type: ignore[no-any-return]

    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.backbone


def placed(model: TaskModel[Any], device: str, precision: str) -> Inference[Any]:
    """`model` where it runs; an exported file runs on the CPU in float32, and asking for another is an error."""
    if not isinstance(model, ExportedModel):
        chosen = choose_device(device)
        return Inference.of(model, chosen, choose_precision(precision, chosen))
    if device not in (AUTO, "cpu") or precision not in (AUTO, "fp32"):
        raise UserError(f"an exported {model.info.name} runs on the CPU in fp32; leave out --device and --precision")
    return Inference(model, torch.device("cpu"), "fp32")


def with_engine(inference: Inference[Any], card: ModelCard, engine: str) -> Inference[Any]:
    """The same predictions, computed by `engine`, one of `ENGINES`.

    Raises UserError for an unknown engine, a missing extra, and a model that it can't run.
    """
    if engine == AUTO:
        raise UserError(f"--engine auto measures on the images of predict; here name one of {', '.join(ENGINES)}")
    if engine not in ENGINES:
        raise unknown_name("engine", engine, (AUTO, *ENGINES))
    return ENGINES[engine](inference, card)


def fingerprint(model: TaskModel[Any], card: ModelCard) -> str:
    """What differs where a tensor, the canvas or the release of torch differs."""
    total = f"{header_of(card)} {temperature_of(model)} {digest_of(model)} {torch.__version__}"
    return hashlib.sha256(total.encode()).hexdigest()[:16]


def _exportable(inference: Inference[Any], engine: str) -> Exportable[Any]:
    model = inference.model
    if isinstance(model, ExportedModel):
        raise UserError(f"--engine {engine}: an exported file has its own; leave it out, or give the checkpoint")
    if not isinstance(model, Exportable):
        raise UserError(f"--engine {engine}: {model.info.name} chooses regions inside of its network; use torch")
    return model


def _as_it_is(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    return inference


def _folded(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    model = _exportable(inference, "folded")
    twin = folded(model, random_images(card, 1).to(inference.device))
    return Inference.of(twin, inference.device, inference.precision)


def _compiled(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    compiled = Inference(Compiled(_exportable(inference, "compile")), inference.device, inference.precision)
    try:
        compiled(torch.zeros((2, card.input.channels, *card.input.canvas), device=inference.device))
    except Exception as problem:  # of any type: a missing compiler, an operation that has no lowering
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UserError(f"--engine compile: torch can't compile {card.name} here ({reason}); use torch") from problem
    return compiled


def _exported(to: str) -> Callable[[Inference[Any], ModelCard], Inference[Any]]:
    def run(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
        model = _exportable(inference, to)
        if inference.device.type != "cpu":
            raise UserError(f"--engine {to} runs on the CPU; add --device cpu, or use torch or compile")
        if inference.precision != "fp32":
            raise UserError(f"--engine {to} runs in fp32; leave out --precision")
        file = _file_of(model, card, to)
        if not file.exists():
            say(f"exporting {card.name} once, into {file.parent}")
            export_model(model, card, to, file)
        return Inference(load_exported(file)[0], inference.device, "fp32")

    return run


def _file_of(model: Exportable[Any], card: ModelCard, to: str) -> Path:
    return cache_folder() / FOLDER / f"{fingerprint(model, card)}{FORMATS[to].suffix}"


ENGINES: Mapping[str, Callable[[Inference[Any], ModelCard], Inference[Any]]] = {
    "torch": _as_it_is,
    "folded": _folded,  # batch normalisation within the convolutions
    "compile": _compiled,
    "onnx": _exported("onnx"),
    "openvino": _exported("openvino"),
}
