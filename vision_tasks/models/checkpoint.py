"""Models on disk: one safetensors file, which says in its header what the model is and what it was trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vision_tasks.errors import UserError
from vision_tasks.files import write_tensors
from vision_tasks.models.base import TaskModel
from vision_tasks.models.registry import create_model, model_entry
from vision_tasks.types import Bands, InputSpec

FORMAT = 1
KEY = "vision_tasks"  # of our JSON among the file's metadata
FOREIGN = (".pt", ".pth", ".ckpt", ".bin", ".pkl")


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


def save_model(model: TaskModel[Any], path: Path, spec: InputSpec, extra: Mapping[str, Any] | None = None) -> None:
    """Write `model` to `path` in one step: a reader, or a crash, finds the old file or the new one, never a part."""
    info = model.info
    card = ModelCard(
        info.name, info.classes, spec, info.exclusive, info.code_licence, info.weights_licence, dict(extra or {})
    )
    header = {KEY: json.dumps({"format": FORMAT, **asdict(card)})}
    write_tensors(path, model.state_dict(), header)


def load_model(path: Path | str) -> tuple[TaskModel[Any], ModelCard]:
    """The model of a checkpoint, or of a run folder (its best, else its last), on the CPU in evaluation mode.

    Raises UserError for a missing or foreign file, and for tensors that are not those of the model it names.
    """
    file = _find(Path(path))
    card = _read_card(file)
    # Initial weights are about to be replaced: drawing them must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        model = create_model(card.name, card.classes, channels=card.input.channels, exclusive=card.exclusive)
    model.info = replace(model.info, weights_licence=card.weights_licence)
    tensors = load_file(file)
    _check_tensors(file, card.name, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model.eval(), card


def start_from(model: TaskModel[Any], path: Path | str) -> str:
    """Copy into `model` what fits of another checkpoint of ours, and say in one line what did.

    The backbone must fit as a whole. A model of the same family and task gives the rest too, where name and shape
    agree; tensors that belong to classes are taken only if the classes are the same, in the same order.
    Raises UserError when the backbone doesn't fit, and what `load_model` raises.
    """
    source, card = load_model(path)
    _check_backbones(model, source)
    entry, source_entry = model_entry(model.info.name), model_entry(source.info.name)
    if (entry.family, entry.task) == (source_entry.family, source_entry.task):
        own, others, part = model.state_dict(), source.state_dict(), ""
        of_classes = set() if source.info.classes == model.info.classes else _class_tensors(model)
    else:
        own, others, part = model.backbone.state_dict(), source.backbone.state_dict(), " of the backbone"
        of_classes = set()
    taken = [name for name in _fitting(own, others) if name not in of_classes]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(others[name])
    model.info = replace(model.info, weights_licence=card.weights_licence)
    left = [name for name in own if name not in set(taken)]
    rest = f"; new: {_few(left)}" if left else ""
    return f"took {len(taken)} of {len(own)} tensors{part} from {card.name} ({path}){rest}"


def _find(path: Path) -> Path:
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).is_file():
                return path / name
        raise UserError(f"no best.safetensors or last.safetensors in {path}")
    if not path.is_file():
        raise UserError(f"checkpoint not found: {path}")
    if path.suffix.lower() in FOREIGN:
        raise UserError(f"{path}: {path.suffix} checkpoints of other tools are not read yet; give a .safetensors file")
    return path


def _read_card(file: Path) -> ModelCard:
    try:
        with safe_open(file, framework="pt") as opened:
            header = (opened.metadata() or {}).get(KEY)
    except SafetensorError as problem:
        raise UserError(f"{file} is not a safetensors file, or is damaged ({problem})") from None
    if header is None:
        raise UserError(f"{file} was not written by vision-tasks: it doesn't say which model it holds")
    fields = json.loads(header)
    if fields.pop("format") > FORMAT:
        raise UserError(f"{file} was written by a newer vision-tasks; update it to read this file")
    return ModelCard(**fields | {"classes": tuple(fields["classes"]), "input": _input_spec(fields["input"])})


def _input_spec(fields: dict[str, Any]) -> InputSpec:
    bands = fields["bands"]
    if bands is not None:
        bands = Bands(tuple(bands["numbers"]), tuple(bands["limits"]) if bands["limits"] else None)
    return InputSpec(tuple(fields["canvas"]), fields["fit"], bands)


def _check_tensors(file: Path, name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    problems = []
    if missing := [key for key in wanted if key not in found]:
        problems.append(f"missing {_few(missing)}")
    if unknown := [key for key in found if key not in wanted]:
        problems.append(f"unknown {_few(unknown)}")
    if other := [key for key in wanted if key in found and found[key].shape != wanted[key].shape]:
        shapes = [f"{key} {_shape(found[key])} instead of {_shape(wanted[key])}" for key in other]
        problems.append(f"wrong shape {_few(shapes)}")
    if problems:
        raise UserError(f"{file} does not hold a {name}: {'; '.join(problems)}")


def _check_backbones(model: TaskModel[Any], source: TaskModel[Any]) -> None:
    own, others = dict(model.backbone.named_parameters()), dict(source.backbone.named_parameters())
    fitting = _fitting(own, others)
    if len(fitting) < len(own):
        different = [name for name in own if name not in set(fitting)]
        raise UserError(
            f"the backbone of {source.info.name} does not fit {model.info.name}: "
            f"{len(fitting)} of {len(own)} tensors agree; not {_few(different)}"
        )


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


def _few(names: list[str], count: int = 3) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
