"""What computes a network's tensors: torch as it is or compiled, ONNX Runtime or OpenVINO."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Never

import torch
from torch import Tensor, nn

from vision_tasks.device import Precision, choose_device, choose_precision
from vision_tasks.download import cache_folder
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.export import FORMATS, export_model
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.backbones import (
    BackboneElsewhere,
    MapsInOrder,
    backbone_of,
    require_same_maps,
    seen_by_backbone,
    with_backbone,
)
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import ModelCard, header_of
from vision_tasks.models.decoding import Decoder
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import (
    ExportedModel,
    digest_of,
    load_exported,
    random_images,
    start_part,
    write_part,
)
from vision_tasks.models.folding import folded, folded_part
from vision_tasks.models.runtime import Run
from vision_tasks.models.temperature import temperature_of
from vision_tasks.types import Size

AUTO = "auto"
FOLDER = "engines"  # in the cache

# Before, graphs could be captured by the main thread only, and `predict` has a thread for the network.
_GRAPHS_OF_ALL_THREADS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)


class Compiled(Exportable[Any]):
    """A model whose tensors a compiled function gives; on CUDA its kernels are launched together, as a graph."""

    def __init__(self, model: Exportable[Any], device: torch.device) -> None:
        super().__init__()
        self.info = model.info
        self.model = model
        self._as_graph = device.type == "cuda" and _GRAPHS_OF_ALL_THREADS
        self._compiled = torch.compile(model.outputs, mode="reduce-overhead" if self._as_graph else None)

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self._compiled(images)
        # The next run of a graph writes to where this one's tensors lie.
        return tuple(tensor.clone() for tensor in found) if self._as_graph else found

    @property
    def decoder(self) -> Decoder[Any]:
        return self.model.decoder

    def forward(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        return self.model(images, targets)  # type: ignore[no-any-return]

    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.backbone


class OnCanvases(Exportable[Any]):
    """A model whose tensors another engine gives, which takes one canvas only: one of them for each canvas."""

    def __init__(self, model: Exportable[Any], start: Callable[[Size], ExportedModel[Any]]) -> None:
        super().__init__()
        self.info = model.info
        self._decoder = model.decoder
        self.started = cache(start)  # the model for a canvas; raises UserError where there can't be one

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.started((images.shape[-2], images.shape[-1])).outputs(images)

    @property
    def decoder(self) -> Decoder[Any]:
        return self._decoder

    def forward(self, images: Tensor, targets: Any) -> Never:
        raise UserError(f"{self.info.name} can't be trained by another engine than torch")

    @property
    def backbone(self) -> Never:
        raise UserError(f"{self.info.name} has no parts in another engine than torch")


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
    require_engine(engine)
    ready = ENGINES[engine](inference, card)
    if isinstance(inference.model, Exportable) and isinstance(ready.model, Exportable):
        ready.model.least_score = inference.model.least_score
    return ready


def require_engine(engine: str) -> None:
    """Raises UserError for an unknown one."""
    if engine not in ENGINES:
        raise unknown_name("engine", engine, (AUTO, *ENGINES))


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
    images = random_images(card, 1).to(inference.device)
    backbone = backbone_of(inference.model)
    if backbone is not None:
        twin = with_backbone(inference.model, folded_part(backbone, seen_by_backbone(images)))
    else:
        twin = folded(_exportable(inference, "folded"), images)
    return Inference.of(twin, inference.device, inference.precision)


def _folded_bf16(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    return replace(_folded(inference, card), precision="bf16")


def _compiled(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    model = Compiled(_exportable(inference, "compile"), inference.device)
    compiled = Inference(model, inference.device, inference.precision)
    try:
        compiled(torch.zeros((2, card.input.channels, *card.input.canvas), device=inference.device))
    except Exception as problem:  # of any type: a missing compiler, an operation that has no lowering
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UserError(f"--engine compile: torch can't compile {card.name} here ({reason}); use torch") from problem
    return compiled


def _compiled_bf16(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
    return _compiled(replace(inference, precision="bf16"), card)


def _exported(to: str, precision: Precision = "fp32") -> Callable[[Inference[Any], ModelCard], Inference[Any]]:
    def run(inference: Inference[Any], card: ModelCard) -> Inference[Any]:
        if isinstance(inference.model, ExportedModel):
            _exportable(inference, to)
        if inference.device.type != "cpu":
            raise UserError(f"--engine {to} runs on the CPU; add --device cpu, or use torch or compile")
        if inference.precision != "fp32":
            raise UserError(f"--engine {to} runs in fp32; leave out --precision")
        backbone = backbone_of(inference.model)
        if backbone is not None:
            return replace(inference, model=_backbone_elsewhere(inference.model, backbone, card, to, precision))
        model = _exportable(inference, to)
        elsewhere = OnCanvases(model, partial(_started, model, card, to, precision))
        elsewhere.started(card.input.canvas)  # what can't be exported says so now
        return Inference(elsewhere.eval(), inference.device, "fp32")

    return run


def _started(model: Exportable[Any], card: ModelCard, to: str, precision: Precision, size: Size) -> ExportedModel[Any]:
    """`model` for one canvas; a file is written where there is none yet."""
    on_canvas = replace(card, input=replace(card.input, canvas=size))
    file = _file_of(model, on_canvas, to)
    if not file.exists():
        say(f"exporting {card.name} for {size[1]} x {size[0]} pixels once, into {file.parent}")
        export_model(model, on_canvas, to, file)
    return load_exported(file, precision=precision)[0]


def _backbone_elsewhere(
    model: TaskModel[Any], backbone: nn.Module, card: ModelCard, to: str, precision: Precision
) -> TaskModel[Any]:
    """`model` with its backbone computed by another engine, in a file for each canvas."""

    def start(size: Size) -> Run:
        on_canvas = replace(card, input=replace(card.input, canvas=size))
        file = _file_of(model, on_canvas, to)
        images = random_images(on_canvas, 2)
        if not file.exists():
            say(f"exporting the backbone of {card.name} for {size[1]} x {size[0]} pixels once, into {file.parent}")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_part(file, MapsInOrder(backbone), images)
        run = start_part(file, precision)
        if precision == "fp32":
            require_same_maps(backbone, run, images, file.name)
        return run

    images = seen_by_backbone(random_images(card, 1))
    with torch.no_grad():
        names = tuple(backbone(images))
    elsewhere = BackboneElsewhere(names, start)
    elsewhere.started((images.shape[-2], images.shape[-1]))  # what can't be exported says so now
    return with_backbone(model, elsewhere)


def _file_of(model: TaskModel[Any], card: ModelCard, to: str) -> Path:
    return cache_folder() / FOLDER / f"{fingerprint(model, card)}{FORMATS[to].suffix}"


ENGINES: Mapping[str, Callable[[Inference[Any], ModelCard], Inference[Any]]] = {
    "torch": _as_it_is,
    "folded": _folded,  # batch normalisation within the convolutions
    "compile": _compiled,
    "onnx": _exported("onnx"),
    "openvino": _exported("openvino"),
    "folded-bf16": _folded_bf16,
    "compile-bf16": _compiled_bf16,
    "openvino-bf16": _exported("openvino", "bf16"),
}
