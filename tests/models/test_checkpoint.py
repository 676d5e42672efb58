"""Files: what is read back, what is refused and in which words."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.models.checkpoints import saved
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec


def test_a_run_folder_gives_its_best_else_its_last(tmp_path: Path) -> None:
    saved(tmp_path, "resnet18", ("a", "b"), "last.safetensors")
    assert load_model(tmp_path)[1].classes == ("a", "b")
    saved(tmp_path, "resnet18", ("c", "d"))
    model, card = load_model(str(tmp_path))
    assert card.classes == model.info.classes == ("c", "d")
    assert (card.input, card.code_licence) == (InputSpec((64, 96), "crop"), "BSD-3-Clause")
    assert not model.training
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"best\.safetensors: can't be written \(disk full\); make room"):
        saved(tmp_path, "resnet18", ("c", "d"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors here")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "net.pth").write_bytes(b"PK")
    (tmp_path / "run").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    cut = saved(tmp_path, "resnet18", ("a",), "cut.safetensors")
    cut.write_bytes(cut.read_bytes()[:-100])
    torch.save({"x": torch.zeros(1)}, tmp_path / "state.pth")
    for name, message in {
        "gone.safetensors": "checkpoint not found",
        "run": "no best.safetensors or last.safetensors in",
        "text.safetensors": "is not a safetensors file",
        "empty.safetensors": "is not a safetensors file",
        "cut.safetensors": "is not a safetensors file, or is damaged",
        "net.pth": "not a state dict, or damaged",
        "foreign.safetensors": "was not written by vision-tasks.*; train with --weights .*safetensors --model NAME",
        "state.pth": "was not written by vision-tasks",
    }.items():
        with pytest.raises(UserError, match=message) as error:
            load_model(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_tensors_of_another_model(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    small = create_model("resnet18", ("a", "b"))
    del small.net.layer4
    save_model(small, path, InputSpec((64, 64), "crop"))
    with pytest.raises(UserError, match=r"does not hold a resnet18: missing net\.layer4.* and \d+ more"):
        load_model(path)
    small.odd = torch.nn.Linear(1, 1)
    save_model(small, path, InputSpec((64, 64), "crop"))
    with pytest.raises(UserError, match=r"unknown odd\.bias, odd\.weight"):
        load_model(path)


def test_a_newer_format(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    save_file(load_file(path), path, metadata={"vision_tasks": '{"format": 3}'})
    with pytest.raises(UserError, match="newer vision-tasks"):
        load_model(path)


def test_the_first_format(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    header = {"format": 1, "name": "resnet18", "classes": ["a", "b"], "canvas": [64, 96], "fit": "letterbox",
              "code_licence": "BSD-3-Clause", "weights_licence": "", "extra": {}}  # fmt: skip
    save_file(load_file(path), path, metadata={"vision_tasks": json.dumps(header)})
    assert load_model(path)[1].input == InputSpec((64, 96), "letterbox")


def damage(file: Path, **changes: Any) -> None:
    """Rewrite what the file says of its model; None takes a key away."""
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vision_tasks"])
    header = {key: value for key, value in (header | changes).items() if value is not None}
    save_file(load_file(file), file, metadata={"vision_tasks": json.dumps(header)})


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 5},
        {"classes": [1, 2]},
        {"name": 7},
        {"input": None},
        {"input": {"canvas": [64], "fit": "crop"}},
        {"format": "one"},
        {"format": None},
    ],
    ids=str,
)
def test_a_damaged_description(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path, "resnet18", ("a", "b"))
    damage(path, **changes)
    with pytest.raises(UserError, match=r"best\.safetensors is damaged: what it says of its model can't be read"):
        load_model(path)


def test_a_description_that_is_no_json(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"vision_tasks": '{"format": 1,'})
    with pytest.raises(UserError, match="is damaged"):
        load_model(tmp_path / "x.safetensors")


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from vision_tasks.errors import UserError
from vision_tasks.files import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    write_tensors(Path(sys.argv[1]), {"x": torch.zeros(1 << 20)}, {})
except UserError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files fails a write in its middle, as a full disk does."""
    path = saved(tmp_path, "resnet18", ("a", "b"))
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True)
    assert re.fullmatch(rf"{path}: can't be written \(.*\); make room, what was there before is kept\n", done.stdout), (
        done
    )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]
    assert load_model(path)[1].classes == ("a", "b")
