"""Models on disk: one safetensors file, which says in its header what the model is and what it was trained for.

Published weights and files of other tools are read too, those of ultralytics as whole models; see `weights.resolve`
for what a user may name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vision_tasks.cards import (
    WeightCard,
    class_ids,
    class_names,
    is_weight_name,
    known_class_ids,
    weight_card,
    weight_names,
)
from vision_tasks.download import Progress
from vision_tasks.errors import UserError, some
from vision_tasks.files import write_tensors
from vision_tasks.models.base import TaskModel
from vision_tasks.models.foreign import fitting_names, read_state_dict
from vision_tasks.models.registry import create_model
from vision_tasks.models.temperature import heat, temperature_of
from vision_tasks.models.ultralytics_files import LICENCE, UltralyticsFile, read_ultralytics
from vision_tasks.models.weights import EXPORTED, Weights, resolve
from vision_tasks.types import InputSpec

FORMAT = 2
KEY = "vision_tasks"  # of our JSON among the file's metadata
NETWORK = "net."  # before the names of another package's tensors
COUNTER = "num_batches_tracked"  # of batch normalisation; not counted by old files, and used by nothing here


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says of its model."""

    name: str
    classes: tuple[str, ...]
    input: InputSpec  # how images were brought to it
    exclusive: bool = True  # whether an image has exactly one of the classes
    code_licence: str = ""  # SPDX
    weights_licence: str = ""  # SPDX of the weights it started from
    class_ids: tuple[int, ...] = ()  # what its data's files call the classes; empty = 0, 1, 2, ...
    extra: Mapping[str, Any] = field(default_factory=dict)  # JSON values of whoever saved it: scores, recipe, versions
    norm: str = "batch"  # what normalises, as of `create_model`
    temperature: float = 1.0  # by which logits are divided before their softmax; 1 = not calibrated


_CARD = TypeAdapter(ModelCard)


def save_model(model: TaskModel[Any], path: Path, spec: InputSpec, extra: Mapping[str, Any] | None = None) -> None:
    """Write `model` to `path` in one step: a reader, or a crash, finds the old file or the new one, never a part."""
    info = model.info
    card = ModelCard(
        info.name,
        info.classes,
        spec,
        info.exclusive,
        info.code_licence,
        info.weights_licence,
        info.class_ids,
        dict(extra or {}),
        info.norm,
        temperature_of(model),
    )
    write_tensors(path, model.state_dict(), {KEY: header_of(card)})


def header_of(card: ModelCard) -> str:
    """A card as files carry it."""
    return json.dumps({"format": FORMAT, **asdict(card)})


def load_model(weights: Path | str, progress: Progress | None = None) -> tuple[TaskModel[Any], ModelCard]:
    """The model of a checkpoint, a run folder (its best, else its last) or a weight card, on the CPU, for evaluation.

    Raises UserError for a missing or foreign file, for tensors that are not those of the model, and what `fetch` does.
    """
    return load_weights(resolve(weights, progress=progress))


def network_names(model: TaskModel[Any]) -> dict[str, str]:
    """Names within `model.net`, where adapters keep the network of another package -> names within the model."""
    return {name.removeprefix(NETWORK): name for name in model.state_dict() if name.startswith(NETWORK)}


def load_weights(source: Weights) -> tuple[TaskModel[Any], ModelCard]:
    """`load_model` of what a name was resolved to."""
    assert source.file is not None  # only a model's name leads to weights without a file
    if source.card is not None:
        return _load_published(source.file, source.card)
    if source.file.suffix.lower() in EXPORTED:
        from vision_tasks.models.exported import load_exported  # which reads headers by this module

        return load_exported(source.file)
    header = own_header(source.file)
    if header is None:
        read_state_dict(source.file)  # damage is the better reason
        raise UserError(
            f"{source.file} was not written by vision-tasks: it doesn't say which model it holds; "
            f"train with --weights {source.file} --model NAME, which starts from it"
        )
    return _load_own(source.file, parse_header(source.file, header))


def _load_own(file: Path, card: ModelCard) -> tuple[TaskModel[Any], ModelCard]:
    model = _build(card)
    theirs = read_ultralytics(file)
    tensors = load_file(file) if theirs is None else _tensors_within(model, theirs)
    _check_tensors(file, card.name, tensors, model.state_dict())
    model.load_state_dict(tensors)
    heat(model, card.temperature)
    return model.eval(), card


def _tensors_within(model: TaskModel[Any], theirs: UltralyticsFile) -> dict[str, Tensor]:
    theirs.require_same(model.get_submodule(NETWORK.rstrip(".")))
    return {NETWORK + name: tensor for name, tensor in theirs.tensors().items()}


def _load_published(file: Path, card: WeightCard) -> tuple[TaskModel[Any], ModelCard]:
    """The network of a card with its published tensors, and with the statistics that they were trained for."""
    spec = InputSpec(card.canvas, card.fit)
    licences = (card.code_licence, card.weights_licence)
    described = ModelCard(card.model, class_names(card), spec, True, *licences, class_ids(card))
    model = _build(described)
    own = model.state_dict()
    wanted = {name: own[full] for name, full in network_names(model).items()}
    theirs = read_ultralytics(file)
    published = fitting_names(read_state_dict(file) if theirs is None else theirs.tensors(), wanted)
    found = dict(model.from_published(published))
    # Files from before torch counted batches lack the count; nothing depends on it.
    counted = {name: tensor for name, tensor in wanted.items() if name in found or not name.endswith(COUNTER)}
    _check_tensors(file, card.model, found, counted)
    statistics = {"mean": card.mean, "std": card.std}
    with torch.no_grad():
        for name, tensor in counted.items():
            tensor.copy_(found[name])
        for name, values in statistics.items():
            if values is not None:
                own[name].copy_(torch.tensor(values).view(1, -1, 1, 1))
    return model.eval(), described


def _build(card: ModelCard) -> TaskModel[Any]:
    # Initial weights are about to be replaced: drawing them must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        options: dict[str, Any] = {"channels": card.input.channels, "exclusive": card.exclusive, "norm": card.norm}
        model = create_model(card.name, card.classes, **options)
    model.info = replace(model.info, weights_licence=card.weights_licence, class_ids=card.class_ids)
    return model


def model_of(weights: Path | str) -> str:
    """The model that a run, a file of ours or a card holds; empty for what doesn't say, and for what isn't there."""
    name = str(weights)
    if name in weight_names():
        return weight_card(name).model
    if is_weight_name(name) or not Path(weights).exists():
        return ""
    file = resolve(weights).file
    header = own_header(file) if file is not None else None
    return parse_header(file, header).name if file is not None and header is not None else ""


def own_header(file: Path) -> str | None:
    """What a file of ours, or of ultralytics, says of its model; None for those of others."""
    if file.suffix.lower() in EXPORTED:
        raise UserError(f"{file} is an exported file, which can't be trained; give the checkpoint it was made from")
    if file.suffix.lower() != ".safetensors":
        return _header_of(read_ultralytics(file))
    try:
        with safe_open(file, framework="pt") as opened:
            header: str | None = (opened.metadata() or {}).get(KEY)
    except SafetensorError as problem:
        raise UserError(f"{file} is not a safetensors file, or is damaged ({problem})") from None
    return header


def _header_of(theirs: UltralyticsFile | None) -> str | None:
    if theirs is None:
        return None
    spec, ids = InputSpec(theirs.canvas, "letterbox"), known_class_ids(theirs.classes)
    card = ModelCard(theirs.name, theirs.classes, spec, True, LICENCE, LICENCE, ids)
    return header_of(card)


def parse_header(file: Path, header: str) -> ModelCard:
    """What `header_of` wrote. Raises UserError for damage, and for files of later releases."""
    try:
        fields = json.loads(header)
        if fields["format"] > FORMAT:
            raise UserError(f"{file} was written by a newer vision-tasks; update it to read this file")
        if "input" not in fields:  # the canvas and the fit had no record of their own
            fields["input"] = {"canvas": fields.pop("canvas"), "fit": fields.pop("fit")}
        return _CARD.validate_python(fields)
    except (ValueError, KeyError, TypeError):  # of JSON, and of pydantic
        raise UserError(f"{file} is damaged: what it says of its model can't be read; train it again") from None


def _check_tensors(file: Path, name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    problems = []
    if missing := [key for key in wanted if key not in found]:
        problems.append(f"missing {some(missing)}")
    if unknown := [key for key in found if key not in wanted]:
        problems.append(f"unknown {some(unknown)}")
    if other := [key for key in wanted if key in found and found[key].shape != wanted[key].shape]:
        shapes = [f"{key} {describe_shape(found[key])} instead of {describe_shape(wanted[key])}" for key in other]
        problems.append(f"wrong shape {some(shapes)}")
    if problems:
        raise UserError(f"{file} does not hold a {name}: {'; '.join(problems)}")


def describe_shape(tensor: Tensor) -> str:
    """`64x3x7x7`."""
    return "x".join(map(str, tensor.shape)) or "scalar"
