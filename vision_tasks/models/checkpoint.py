"""Models on disk: one safetensors file, which says in its header what the model is and what it was trained for.

Published weights and files of other tools are read too; see `weights.resolve` for what a user may name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vision_tasks.cards import WeightCard, class_names
from vision_tasks.download import Progress
from vision_tasks.errors import UserError, some
from vision_tasks.files import write_tensors
from vision_tasks.models.base import TaskModel
from vision_tasks.models.foreign import State, fitting_names, read_state_dict
from vision_tasks.models.registry import create_model, model_entry
from vision_tasks.models.weights import Weights, resolve
from vision_tasks.models.widen import RGB, widen
from vision_tasks.types import InputSpec

FORMAT = 2
KEY = "vision_tasks"  # of our JSON among the file's metadata
NETWORK = "net."  # before the names of another package's tensors
COUNTER = "num_batches_tracked"  # of batch normalisation; not counted by old files, and used by nothing here
UNKNOWN = "unknown"  # licence of files that say none


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says of its model."""

    name: str
    classes: tuple[str, ...]
    input: InputSpec  # how images were brought to it
    exclusive: bool = True  # whether an image has exactly one of the classes
    code_licence: str = ""  # SPDX
    weights_licence: str = ""  # SPDX of the weights it started from
    extra: Mapping[str, Any] = field(default_factory=dict)  # JSON values of whoever saved it: scores, recipe, versions


_CARD = TypeAdapter(ModelCard)


def save_model(model: TaskModel[Any], path: Path, spec: InputSpec, extra: Mapping[str, Any] | None = None) -> None:
    """Write `model` to `path` in one step: a reader, or a crash, finds the old file or the new one, never a part."""
    info = model.info
    card = ModelCard(
        info.name, info.classes, spec, info.exclusive, info.code_licence, info.weights_licence, dict(extra or {})
    )
    header = {KEY: json.dumps({"format": FORMAT, **asdict(card)})}
    write_tensors(path, model.state_dict(), header)


def load_model(weights: Path | str, progress: Progress | None = None) -> tuple[TaskModel[Any], ModelCard]:
    """The model of a checkpoint, a run folder (its best, else its last) or a weight card, on the CPU, for evaluation.

    Raises UserError for a missing or foreign file, for tensors that are not those of the model, and what `fetch` does.
    """
    return _load(resolve(weights, progress=progress))


def start_from(model: TaskModel[Any], weights: Path | str, progress: Progress | None = None) -> str:
    """Copy into `model` what fits of `weights` (see `resolve`), and say in one line what did.

    The backbone must fit as a whole; only its first layer is widened to a model's other number of channels. A model of
    the same family and task gives the rest too, where name and shape agree; tensors that belong to classes are taken
    only if the classes are known to be the same, in the same order. The tensors of a state dict of another tool have
    the names of the model's network, or of its backbone.
    Raises UserError when the backbone doesn't fit, and what `resolve` and `read_state_dict` raise.
    """
    source = _source(model, resolve(weights, model.info.name, progress))
    own = model.state_dict()
    found, widened = _widened(model, source.tensors)
    _check_backbone(model, source.name, found)
    of_classes = set() if source.classes == model.info.classes or source.backbone_only else _class_tensors(model)
    taken = [name for name in _fitting(own, found) if name not in of_classes]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(found[name])
    model.info = replace(model.info, weights_licence=source.licence)
    return _account(source, taken, widened)


@dataclass(frozen=True)
class _Source:
    """Tensors to start a model from, under that model's own names."""

    name: str  # of the model they come from
    label: str  # as the user called them
    tensors: State
    licence: str
    scope: Collection[str]  # the model's tensors that they might have been: all, or those of its network or backbone
    classes: tuple[str, ...] | None = None  # None = unknown
    backbone_only: bool = False


def _source(model: TaskModel[Any], weights: Weights) -> _Source:
    if weights.file is None:
        from vision_tasks.models.timm_weights import pretrained

        tensors, licence = pretrained(model.info.name)
        return _foreign_source(model, weights, tensors, licence)
    if weights.card is None and _header(weights.file) is None:
        return _foreign_source(model, weights, read_state_dict(weights.file), UNKNOWN)
    return _own_source(model, weights)


def _own_source(model: TaskModel[Any], weights: Weights) -> _Source:
    source, card = _load(weights)
    entry, others = model_entry(model.info.name), model_entry(card.name)
    same = (entry.family, entry.task) == (others.family, others.task)
    state = source.state_dict()
    if same:
        return _Source(card.name, weights.label, state, card.weights_licence, state, card.classes)
    ours, theirs = _backbone_names(model), _backbone_names(source)
    found = {own: state[theirs[name]] for name, own in ours.items() if name in theirs}
    return _Source(card.name, weights.label, found, card.weights_licence, ours.values(), backbone_only=True)


def _foreign_source(model: TaskModel[Any], weights: Weights, tensors: State, licence: str) -> _Source:
    """Names are those within the network, or within the backbone, whichever more of them are known to."""
    own = model.state_dict()

    def read(names: Mapping[str, str]) -> dict[str, Tensor]:
        reading = fitting_names(tensors, {name: own[full] for name, full in names.items()})
        return {names[name]: tensor for name, tensor in reading.items() if name in names}

    network, backbone = _network_names(model), _backbone_names(model)
    whole, part = read(network), read(backbone)
    if len(part) > len(whole):
        return _Source(weights.label, weights.label, part, licence, backbone.values(), backbone_only=True)
    return _Source(weights.label, weights.label, whole, licence, network.values())


def _network_names(model: TaskModel[Any]) -> dict[str, str]:
    """Names within `model.net`, where adapters keep the network of another package -> names within the model."""
    return {name.removeprefix(NETWORK): name for name in model.state_dict() if name.startswith(NETWORK)}


def _backbone_names(model: TaskModel[Any]) -> dict[str, str]:
    """Names within the backbone -> names within the model."""
    own = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    return {name: own[id(tensor)] for name, tensor in model.backbone.state_dict(keep_vars=True).items()}


def _widened(model: TaskModel[Any], found: State) -> tuple[dict[str, Tensor], bool]:
    """`found` with filters for RGB as filters for the model's channels; and whether there were any."""
    result, channels = dict(found), model.info.channels
    # Parameters only: a mean and deviation of RGB have the shape of a filter, but each channel keeps its own.
    for name, parameter in model.named_parameters():
        wanted = parameter.shape
        filters = len(wanted) == 4 and wanted[1] == channels != RGB
        if filters and name in found and found[name].shape == (wanted[0], RGB, *wanted[2:]):
            result[name] = widen(found[name], channels)
    return result, any(result[name] is not tensor for name, tensor in found.items())


def _account(source: _Source, taken: list[str], widened: bool) -> str:
    part = " of the backbone" if source.backbone_only else ""
    left = [name for name in source.scope if name not in set(taken) and not name.endswith(COUNTER)]
    origin = source.name if source.name == source.label else f"{source.name} ({source.label})"
    account = f"took {len(taken)} of {len(source.scope)} tensors{part} from {origin}"
    if widened:
        account += "; its first layer was widened from RGB"
    return account + (f"; new: {some(left)}" if left else "")


def _load(source: Weights) -> tuple[TaskModel[Any], ModelCard]:
    assert source.file is not None  # only a model's name leads to weights without a file
    if source.card is not None:
        return _load_published(source.file, source.card)
    header = _header(source.file)
    if header is None:
        read_state_dict(source.file)  # damage is the better reason
        raise UserError(
            f"{source.file} was not written by vision-tasks: it doesn't say which model it holds; "
            f"train with --weights {source.file} --model NAME, which starts from it"
        )
    return _load_own(source.file, _parse(source.file, header))


def _load_own(file: Path, card: ModelCard) -> tuple[TaskModel[Any], ModelCard]:
    model = _build(card)
    tensors = load_file(file)
    _check_tensors(file, card.name, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model.eval(), card


def _load_published(file: Path, card: WeightCard) -> tuple[TaskModel[Any], ModelCard]:
    """The network of a card with its published tensors, and with the statistics that they were trained for."""
    spec = InputSpec(card.canvas, card.fit)
    described = ModelCard(card.model, class_names(card), spec, True, card.code_licence, card.weights_licence)
    model = _build(described)
    own = model.state_dict()
    wanted = {name: own[full] for name, full in _network_names(model).items()}
    found = fitting_names(read_state_dict(file), wanted)
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
        model = create_model(card.name, card.classes, channels=card.input.channels, exclusive=card.exclusive)
    model.info = replace(model.info, weights_licence=card.weights_licence)
    return model


def _header(file: Path) -> str | None:
    """What a file of ours says of its model; None for those of others."""
    if file.suffix.lower() != ".safetensors":
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            header: str | None = (opened.metadata() or {}).get(KEY)
    except SafetensorError as problem:
        raise UserError(f"{file} is not a safetensors file, or is damaged ({problem})") from None
    return header


def _parse(file: Path, header: str) -> ModelCard:
    try:
        fields = json.loads(header)
        if fields["format"] > FORMAT:
            raise UserError(f"{file} was written by a newer vision-tasks; update it to read this file")
        if fields["format"] == 1:  # the canvas and the fit had no record of their own
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
        shapes = [f"{key} {_shape(found[key])} instead of {_shape(wanted[key])}" for key in other]
        problems.append(f"wrong shape {some(shapes)}")
    if problems:
        raise UserError(f"{file} does not hold a {name}: {'; '.join(problems)}")


def _check_backbone(model: TaskModel[Any], source: str, found: State) -> None:
    state = model.state_dict()
    parameters = {id(parameter) for parameter in model.backbone.parameters()}
    own = {name: state[name] for name, parameter in model.named_parameters() if id(parameter) in parameters}
    fitting = _fitting(own, found)
    if len(fitting) < len(own):
        different = [_difference(name, own[name], found) for name in own if name not in set(fitting)]
        raise UserError(
            f"the backbone of {source} does not fit {model.info.name}: "
            f"{len(fitting)} of {len(own)} tensors agree; not {some(different)}"
        )


def _difference(name: str, own: Tensor, found: State) -> str:
    return f"{name} ({_shape(found[name])} for {_shape(own)})" if name in found else f"{name} (missing)"


def _class_tensors(model: TaskModel[Any]) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes: those that one class more changes."""
    with torch.random.fork_rng(devices=[]):
        classes = [str(i) for i in range(len(model.info.classes) + 1)]
        info = model.info
        twin = create_model(info.name, classes, channels=info.channels, exclusive=info.exclusive)
    own, other = model.state_dict(), twin.state_dict()
    return own.keys() - set(_fitting(own, other))


def _fitting(own: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in own.items() if name in others and others[name].shape == tensor.shape]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
