"""State dicts that other tools wrote, read without running anything of theirs."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vision_tasks.errors import UserError
from vision_tasks.models.inert_pickle import UNREADABLE

State = Mapping[str, Tensor]

NESTED = ("state_dict", "model_state_dict", "model")  # where checkpoints of whole trainings keep the network's tensors
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")  # of wrappers: DataParallel, torch.compile, usual attributes


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of what `torch.save` wrote, by their names; on the CPU.

    Only tensors and plain containers are taken from a pickle. Raises UserError for one that holds anything else, whose
    code is not run, for TorchScript archives, and for files that are damaged or hold no tensors.
    """
    content = _load_safetensors(file) if file.suffix.lower() == ".safetensors" else _load_pickle(file)
    state = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{file}: holds no tensors by name; it is no state dict (its keys: {_keys(content)})")
    return tensors


def fitting_names(tensors: State, wanted: State) -> dict[str, Tensor]:
    """`tensors` without as many of the wrappers' prefixes that all of them share as makes the most names `wanted`."""
    return max(_readings(tensors), key=lambda reading: len(reading.keys() & wanted.keys()))


def _readings(tensors: State) -> Iterator[dict[str, Tensor]]:
    names = dict(tensors)
    yield names
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), ""):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
        yield names


def _load_safetensors(file: Path) -> Mapping[Any, Any]:
    try:
        return load_file(file)
    except SafetensorError as problem:
        raise UserError(f"{file} is not a safetensors file, or is damaged ({problem})") from None


def _load_pickle(file: Path) -> Mapping[Any, Any]:
    if _is_torchscript(file):
        raise UserError(f"{file}: is a TorchScript archive, which holds code; save the module's state_dict() instead")
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, weights_only=True, map_location="cpu")
    except UnpicklingError as problem:
        raise _refused(file, str(problem)) from None
    except OSError:
        raise
    # Bytes that are no pickle make the reader fail in any way.
    except Exception as problem:
        raise UserError(f"{file}: not a state dict, or damaged ({type(problem).__name__})") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds a {type(content).__name__}, not a state dict")
    return content


def _refused(file: Path, problem: str) -> UserError:
    found = re.search(r"\bglobal:? (?:GLOBAL )?([\w.]+\.[\w.]+)", problem, re.IGNORECASE)
    if found is None:
        return UserError(f"{file}: not a state dict, or damaged")
    return UserError(
        f"{file}: a pickle with more than tensors in it ({found[1]}); it could run code and was refused; "
        "ask its authors for the state_dict() alone, best as .safetensors"
    )


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in archive.namelist())
    except UNREADABLE as problem:
        raise UserError(f"{file}: not a state dict, or damaged ({problem})") from None


def _keys(content: Mapping[Any, Any]) -> str:
    names = [str(key) for key in content][:3]
    return ", ".join(names) + (" ..." if len(content) > len(names) else "") if names else "none"
