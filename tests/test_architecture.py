"""The house keeps its floors: what may import what, who may touch CUDA, and that engines can't tell tasks apart."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vision_tasks"

FLOORS = {
    0: (
        "errors",
        "types",
        "geometry",
        "sampling",
        "warp",
        "warp_triton",
        "luck",
        "config",
        "device",
        "processes",
        "files",
        "cards",
        "archive",
        "download",
    ),
    1: ("data", "augment", "models", "metrics"),
    2: ("tasks",),
    3: ("engine",),
    4: ("cli", "recipes", "report", "explanations", "commands", "doctor", "benchmarking", "__init__"),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
ADAPTERS = {
    "torchvision.models": {
        "models/torchvision_classifiers.py",
        "models/torchvision_detectors.py",
        "models/torchvision_segmenters.py",
    },
    "ultralytics": {"models/ultralytics_yolo.py"},
    "segmentation_models_pytorch": {"models/smp.py"},
    "timm": {"models/timm_classifiers.py", "models/timm_weights.py"},
    "albumentations": {"augment/albumentations_file.py"},
    "hotcoco": {"metrics/coco.py", "data/readers/coco_outline.py"},
}
CUDA_FILES = {"device.py", "data/decode.py", "data/loader.py", "data/on_device/side_stream.py", "warp_triton.py"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> list[str]:
    """Full names of the modules that a file imports, lazily or not."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in SOURCES} <= FLOOR.keys()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_down_or_stay_in_the_package(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if name.startswith("vision_tasks."):
            there = name.split(".")[1]
            allowed = there == here or FLOOR[there] < FLOOR[here] or FLOOR[here] == FLOOR[there] in (0, 4)
            assert allowed, f"{name_of(path)} (floor {FLOOR[here]}) imports {name} (floor {FLOOR[there]})"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_third_party_models_stay_in_their_adapters(path: Path) -> None:
    for package, adapters in ADAPTERS.items():
        found = [name for name in imports(path) if name == package or name.startswith(package + ".")]
        assert not found or name_of(path) in adapters


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_cuda_is_called_in_few_files(path: Path) -> None:
    assert name_of(path) in CUDA_FILES or not re.search(r"\btorch\.cuda\b|\.cuda\(", path.read_text())


@pytest.mark.parametrize("path", [p for p in SOURCES if room(p) in ("engine", "augment", "data")], ids=name_of)
def test_shared_rooms_do_not_know_which_tasks_exist(path: Path) -> None:
    if "readers" in path.parts:
        return  # a reader reads one format, whose truth is of one kind
    source = path.read_text()
    assert not re.search(r"\b(classif|detect|segment)\w*|_(classif|detect|segment)", source, re.IGNORECASE), (
        "names a task"
    )
    assert not re.search(r"\b(Labels|Boxes|Masks)\b", source), "names a kind of target"


def test_no_branch_on_the_task_anywhere() -> None:
    for path in SOURCES:
        assert not re.search(r"if\s+\w*task(\.name)?\s*==", path.read_text()), name_of(path)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, vision_tasks, vision_tasks.cli; print([m for m in ('torch', 'cv2', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_core_imports_without_extras() -> None:
    """Neither AGPL code nor albumentations is needed, or loaded, by anything but its own adapter."""
    modules = [f"vision_tasks.{name_of(path)[:-3].replace('/', '.')}" for path in SOURCES if path.stem != "__init__"]
    code = (
        "import sys, importlib\n"
        "for name in ('ultralytics', 'albumentations'): sys.modules[name] = None\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
