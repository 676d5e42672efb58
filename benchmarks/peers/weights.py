"""Tensors of our files for peers' networks, which are the same networks."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

NETWORK = "net."


def load_into(net: nn.Module, path: Path) -> None:
    """Fill `net` by name. Raises KeyError where the file lacks a tensor that the network has."""
    with safe_open(path, "pt") as file:
        found: dict[str, Tensor] = {name.removeprefix(NETWORK): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    net.load_state_dict({name: found[name] for name in net.state_dict()})


def classes_of(path: Path) -> list[str]:
    """The classes that the file's header has."""
    with safe_open(path, "pt") as file:
        (text,) = (file.metadata() or {}).values()
    names: list[str] = json.loads(text)["classes"]
    return names
