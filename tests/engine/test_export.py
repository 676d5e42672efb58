"""What export refuses, and that it leaves nothing behind when it does."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vision_tasks.engine import export as exporting
from vision_tasks.engine.export import export_model
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import ModelCard, load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec


def made(folder: Path, name: str = "mnist_cnn") -> tuple[Any, ModelCard]:
    torch.manual_seed(0)
    save_model(create_model(name, ("a", "b")), folder / "best.safetensors", InputSpec((28, 28), "stretch"))
    return load_model(folder / "best.safetensors")


def test_names_and_endings(tmp_path: Path) -> None:
    model, card = made(tmp_path)
    with pytest.raises(UserError, match="did you mean onnx"):
        export_model(model, card, "onx", tmp_path / "a.onnx")
    with pytest.raises(UserError, match=r"a file for openvino ends in \.xml"):
        export_model(model, card, "openvino", tmp_path / "a.onnx")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, card = made(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'vision-tasks\[onnx\]'"):
        export_model(model, card, "onnx", tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_networks_that_choose_regions_are_refused(tmp_path: Path) -> None:
    model, card = made(tmp_path, "ssdlite320_mobilenet_v3_large")
    with pytest.raises(UserError, match="can be exported --to torch only"):
        export_model(model, card, "onnx", tmp_path / "a.onnx")
    assert export_model(model, card, "torch", tmp_path / "a.safetensors") == 0


def test_a_file_that_computes_something_else_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, card = made(tmp_path)

    def wrong(path: Path, model: Any, card: ModelCard) -> None:
        bias = list(model.parameters())[-1]
        before = bias.detach().clone()
        torch.nn.init.constant_(bias, 0.5)
        save_model(model, path, card.input)
        bias.data.copy_(before)

    monkeypatch.setitem(exporting.FORMATS, "torch", exporting.Format(".safetensors", wrong))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="more than rounding can"):
        export_model(model, card, "torch", tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_an_old_file_is_replaced_whole(tmp_path: Path) -> None:
    model, card = made(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"old")
    assert export_model(model, card, "torch", tmp_path / "a.safetensors") == 0
    assert torch.equal(load_model(tmp_path / "a.safetensors")[0].state_dict()["mean"], model.mean)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "best.safetensors"]


@pytest.mark.parametrize(("error", "is_rounding"), [(2e-3, True), (2e-2, False)])
def test_rounding_is_of_the_largest_numbers(
    error: float, is_rounding: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits of hundreds, as trained networks have, are differences of such; where they meet 0, so are their errors."""
    (one, _), (other, _) = made(tmp_path), made(tmp_path)
    monkeypatch.setattr(one, "outputs", lambda _: (torch.tensor([300.0, 0.0]),))
    monkeypatch.setattr(other, "outputs", lambda _: (torch.tensor([300.0, 0.0]) + error,))
    if is_rounding:
        assert exporting.compared(one, other, torch.zeros(1), tmp_path) == pytest.approx(error, rel=0.05)
    else:
        with pytest.raises(UserError, match="more than rounding can"):
            exporting.compared(one, other, torch.zeros(1), tmp_path)
