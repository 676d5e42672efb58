"""Checkpoints of ultralytics: a network's tensors and what they are, read without running anything of theirs.

Such a file pickles the whole network as objects. Here it is read as plain data: the tensors by their names, the name of
the network in its description, the classes, and the canvas among the settings of its training. The code of ultralytics,
and so its files, are under AGPL-3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path, PureWindowsPath
from reprlib import repr as in_short
from typing import Any

from torch import Tensor, nn

from vision_tasks.errors import UserError, some
from vision_tasks.models.inert_pickle import Archive, Record, is_tensor
from vision_tasks.models.registry import MODELS
from vision_tasks.types import Size

LICENCE = "AGPL-3.0"
DETECTORS = ("DetectionModel", "YOLOv10DetectionModel")
USUAL_SIDE = 640  # of a training whose settings the file lacks
# Of torch's layers, those on which their output depends.
SETTINGS = ("stride", "padding", "dilation", "groups", "padding_mode", "kernel_size", "eps", "ceil_mode", "mode",
            "scale_factor", "align_corners", "negative_slope")  # fmt: skip
# Of ultralytics', how they join what they are given: from which layers, added or not, along what, in how many heads.
WIRING = ("f", "add", "d", "g", "idx", "c2s", "num_heads", "key_dim", "scale", "area")
MAX_MODULES = 20_000  # the largest network has a few thousand; one that holds itself has no end
MAX_NAME = 1000  # characters of a part's dotted name; the longest have some 60


@dataclass(frozen=True)
class UltralyticsFile:
    """A detection network of ultralytics with its weights."""

    file: Path
    name: str  # in the registry
    classes: tuple[str, ...]
    canvas: Size  # (height, width) of its training
    modules: Mapping[str, Record]  # its parts by their names

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by their names; halves as float32."""
        archive = Archive.open(self.file)
        assert archive is not None  # as when its description was read
        with archive:
            return {name: _full(archive.tensor(record)) for name, record in self._named_tensors()}

    def _named_tensors(self) -> Iterator[tuple[str, Record]]:
        for path, module in self.modules.items():
            passing = module.state.get("_non_persistent_buffers_set")
            for name, record in (*_held(module, "_parameters"), *_held(module, "_buffers")):
                if is_tensor(record) and not (isinstance(passing, set) and name in passing):
                    yield f"{path}.{name}".lstrip("."), record

    def require_same(self, net: nn.Module) -> None:
        """Tensors of the same shapes may still be used otherwise: layers must be set, and wired, in the same way.

        Raises UserError, which names the first of them that differ from those of `net`, built by the file's name.
        """
        different = [difference for path, own in net.named_modules() for difference in self._differences(path, own)]
        if different:
            raise UserError(f"{self.file}: its network is no plain {self.name}: {some(different)}")

    def _differences(self, path: str, own: nn.Module) -> Iterator[str]:
        theirs = self.modules.get(path)
        if theirs is None:
            return
        names: tuple[str, ...] = WIRING
        # Layers of their own have changed names and attributes from release to release.
        if _is_torchs(theirs.path) and _is_torchs(type(own).__module__):
            kind, names = theirs.path.rsplit(".", 1)[-1], WIRING + SETTINGS
            if kind != type(own).__name__:
                yield f"{path} is a {kind} and no {type(own).__name__}"
                return
        for name in names:
            if name in theirs.state and name in vars(own) and theirs.state[name] != vars(own)[name]:
                yield f"{path} has {name} {in_short(theirs.state[name])} instead of {vars(own)[name]}"


def read_ultralytics(file: Path) -> UltralyticsFile | None:
    """What `file` holds; None for a file that is not of ultralytics.

    The running mean of the weights is preferred to the weights, as ultralytics does.
    Raises UserError for networks that do not detect, or are none of those that can be built by name, and for damage.
    """
    state = file.stat()
    return _read(file, (state.st_ino, state.st_mtime_ns, state.st_size))


# One command asks what a file holds, what its network is called and what its tensors are.
@lru_cache(1)
def _read(file: Path, version: tuple[int, ...]) -> UltralyticsFile | None:
    archive = Archive.open(file)
    if archive is None:
        return None
    with archive:
        # A TorchScript archive is code with the same names in it.
        if archive.has("constants.pkl") or not archive.mentions("ultralytics.nn.tasks"):
            return None
        content = archive.content()
    content = content if isinstance(content, Mapping) else {}
    network = _network(file, content)
    modules = _modules(file, network)
    name, classes = _model_name(file, network.state.get("yaml")), _class_names(file, network.state.get("names"))
    return UltralyticsFile(file, name, classes, _canvas(name, content, network), modules)


def _network(file: Path, content: Mapping[Any, Any]) -> Record:
    network = content.get("ema") or content.get("model")
    kind = network.path.rsplit(".", 1)[-1] if isinstance(network, Record) else ""
    if not isinstance(network, Record) or not isinstance(network.state.get("_modules"), Mapping):
        raise UserError(
            f"{file}: mentions ultralytics, but holds no network; give a best.pt or last.pt as it writes them"
        )
    if kind not in DETECTORS:
        raise UserError(f"{file}: holds a {kind} of ultralytics; only its {DETECTORS[0]} is read")
    return network


def _modules(file: Path, network: Record) -> dict[str, Record]:
    found: dict[str, Record] = {}
    waiting = [("", network)]
    while waiting:
        path, module = waiting.pop()
        found[path] = module
        held = [(name, part) for name, part in _held(module, "_modules") if isinstance(part, Record)]
        parts = [(f"{path}.{name}".lstrip("."), part) for name, part in held]
        waiting += parts
        if len(found) + len(waiting) > MAX_MODULES or any(len(name) > MAX_NAME for name, _ in parts):
            raise UserError(f"{file}: its network has no end; the file is damaged")
    return found


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _held(module: Record, kind: str) -> Iterable[tuple[Any, Any]]:
    held = module.state.get(kind)
    return held.items() if isinstance(held, Mapping) else ()


def _model_name(file: Path, description: Any) -> str:
    """`yolo11n`, in whatever way the description says it: yolo11n.yaml, or yolo11.yaml with the scale n."""
    described = description if isinstance(description, Mapping) else {}
    stem = PureWindowsPath(str(described.get("yaml_file", ""))).stem
    scaled = re.sub(r"^(yolov?\d+)", rf"\g<1>{described.get('scale', '')}", stem)
    for name in (stem, scaled, f"{stem}u", f"{scaled}u"):
        if name in MODELS and MODELS[name].family == "ultralytics":
            return name
    told = f"described by {stem}.yaml" if stem else "not described by name"
    raise UserError(
        f"{file}: its network is {told}, which is none of ultralytics' own that `vision-tasks models` lists"
    )


def _class_names(file: Path, names: Any) -> tuple[str, ...]:
    listed = [names.get(i) for i in range(len(names))] if isinstance(names, Mapping) else names
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        raise UserError(f"{file}: doesn't name all of its classes; the file is damaged")
    return tuple(listed)


def _canvas(name: str, content: Mapping[Any, Any], network: Record) -> Size:
    """What the training set as `imgsz`, rounded up to what the network can divide, as ultralytics does."""
    settings = content.get("train_args") or network.state.get("args")
    chosen = settings.get("imgsz") if isinstance(settings, Mapping) else None
    sides = chosen if isinstance(chosen, list | tuple) and len(chosen) == 2 else (chosen, chosen)
    multiple = MODELS[name].size_multiple
    height, width = (
        ceil(side / multiple) * multiple if isinstance(side, int) and side > 0 else USUAL_SIDE for side in sides
    )
    return height, width


def _is_torchs(module: str) -> bool:
    return module.startswith("torch.nn.modules.")
