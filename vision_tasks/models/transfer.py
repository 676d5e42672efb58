"""Starting a model from weights of its own kind, of another task, or of another tool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision_tasks.download import Progress
from vision_tasks.errors import UserError, some
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import COUNTER, describe_shape, load_weights, network_names, own_header
from vision_tasks.models.foreign import State, fitting_names, read_state_dict
from vision_tasks.models.group_norm import was_normalised_by_batches
from vision_tasks.models.registry import create_model, model_entry
from vision_tasks.models.weights import Weights, resolve
from vision_tasks.models.widen import RGB, widen

UNKNOWN = "unknown"  # licence of files that say none


def start_from(model: TaskModel[Any], weights: Path | str, progress: Progress | None = None) -> str:
    """Copy into `model` what fits of `weights` (see `resolve`), and say in one line what did.

    The backbone must fit as a whole; only its first layer is widened to a model's other number of channels. A model of
    the same family and task gives the rest too, where name and shape agree; tensors that belong to classes are taken
    only if the classes are known to be the same by name, and are put in the model's order. The tensors of a state dict
    of another tool have the names of the model's network, or of its backbone.
    Raises UserError when the backbone doesn't fit, and what `resolve` and `read_state_dict` raise.
    """
    source = _source(model, resolve(weights, model.info.name, progress))
    _check_norm(model, source)
    own = model.state_dict()
    found, widened = _widened(model, source.tensors)
    _check_backbone(model, source.name, found)
    same = set(source.classes or ()) == set(model.info.classes)
    if same and source.classes != model.info.classes:
        found = _in_order(model, source.classes or (), found)
    of_classes = set() if same or source.backbone_only else _class_tensors(model)
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
    norm: str | None = None  # None = it says nothing of it
    unknown: int = 0  # tensors of a foreign file whose names say nothing here


def _source(model: TaskModel[Any], weights: Weights) -> _Source:
    if weights.file is None:
        from vision_tasks.models.timm_weights import pretrained

        tensors, licence = pretrained(model.info.name)
        return _foreign_source(model, weights, tensors, licence)
    if weights.card is None and own_header(weights.file) is None:
        return _foreign_source(model, weights, read_state_dict(weights.file), UNKNOWN)
    return _own_source(model, weights)


def _own_source(model: TaskModel[Any], weights: Weights) -> _Source:
    source, card = load_weights(weights)
    entry, others = model_entry(model.info.name), model_entry(card.name)
    same = (entry.family, entry.task) == (others.family, others.task)
    state = source.state_dict()
    if same:
        return _Source(card.name, weights.label, state, card.weights_licence, state, card.classes, norm=card.norm)
    ours, theirs = _backbone_names(model), _backbone_names(source)
    found = {own: state[theirs[name]] for name, own in ours.items() if name in theirs}
    licence = card.weights_licence
    return _Source(card.name, weights.label, found, licence, ours.values(), backbone_only=True, norm=card.norm)


def _foreign_source(model: TaskModel[Any], weights: Weights, tensors: State, licence: str) -> _Source:
    """Names are those within the network, or within the backbone, whichever more of them are known to."""
    own = model.state_dict()

    def read(names: Mapping[str, str]) -> dict[str, Tensor]:
        reading = fitting_names(tensors, {name: own[full] for name, full in names.items()})
        return {names[name]: tensor for name, tensor in reading.items() if name in names}

    network, backbone = network_names(model), _backbone_names(model)
    whole, part = read(network), read(backbone)
    found, names = (part, backbone) if len(part) > len(whole) else (whole, network)
    # What a backbone leaves is the classifier, as it should be.
    unknown = len(tensors) - len(found) if names is network else 0
    label, norm = weights.label, "batch" if was_normalised_by_batches(tensors) else None
    part_only = names is backbone
    return _Source(label, label, found, licence, names.values(), backbone_only=part_only, norm=norm, unknown=unknown)


def _check_norm(model: TaskModel[Any], source: _Source) -> None:
    """Scales of the one kind of normalisation have the names and shapes of the other's, but not their meaning."""
    norm = source.norm
    if norm not in (None, model.info.norm):
        raise UserError(f"{source.label} was trained with norm={norm}, not {model.info.norm}; add --set norm={norm}")


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


def _in_order(model: TaskModel[Any], classes: Sequence[str], found: State) -> dict[str, Tensor]:
    """`found`, of a model with outputs for `classes`, with its outputs in the order of the model's classes."""
    result, none = dict(found), model.background
    rows = [*range(none), *(none + classes.index(name) for name in model.info.classes)]
    for layer, each in model.class_layers.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name in found:
                outputs = found[name].reshape(-1, len(rows), each, *found[name].shape[1:])
                result[name] = outputs[:, rows].flatten(0, 2)
    return result


def _account(source: _Source, taken: list[str], widened: bool) -> str:
    part = " of the backbone" if source.backbone_only else ""
    left = [name for name in source.scope if name not in set(taken) and not name.endswith(COUNTER)]
    origin = source.name if source.name == source.label else f"{source.name} ({source.label})"
    account = f"took {len(taken)} of {len(source.scope)} tensors{part} from {origin}"
    if widened:
        account += "; its first layer was widened from RGB"
    if source.unknown:
        account += f"; {source.unknown} others in it belong to no part of this model: is it the right one?"
    return account + (f"; new: {some(left)}" if left else "")


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
    return f"{name} ({describe_shape(found[name])} for {describe_shape(own)})" if name in found else f"{name} (missing)"


def _class_tensors(model: TaskModel[Any]) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes: those that one class more changes."""
    with torch.random.fork_rng(devices=[]):
        classes = [str(i) for i in range(len(model.info.classes) + 1)]
        info = model.info
        twin = create_model(info.name, classes, channels=info.channels, exclusive=info.exclusive, norm=info.norm)
    own, other = model.state_dict(), twin.state_dict()
    return own.keys() - set(_fitting(own, other))


def _fitting(own: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in own.items() if name in others and others[name].shape == tensor.shape]
