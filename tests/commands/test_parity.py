"""Evaluate, predict on a folder and exported files agree; a file whose numbers were changed does not."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import vision_tasks as vt
from tests import factories
from tests.models.yolo import yolo
from vision_tasks.cli import _run, app, typer
from vision_tasks.commands.parity import Parity, Row, parity
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def rows(*scores: float, allowed: float = 0.001) -> Parity:
    return Parity([Row(str(number), {"score": score}, allowed) for number, score in enumerate(scores)])


def test_what_differs_by_more_than_it_may_fails() -> None:
    assert rows(0.5, 0.5009, 0.4991).failed() == []
    assert [row.way for row in rows(0.5, 0.5011, 0.5).failed()] == ["1"]
    assert rows(0.5, 0.5029, allowed=0.003).failed() == []
    assert rows(math.nan, math.nan).failed() == []
    assert len(rows(math.nan, 0.5).failed()) == len(rows(0.5, math.nan).failed()) == 1
    assert "DIFFERS" in rows(0.5, 0.6).table()
    assert "DIFFERS" not in rows(0.5, 0.5).table()


def negated(whole: Path, to: Path) -> Path:
    """The same file, of which the last layer says the opposite."""
    proto = onnx.load(whole)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and values.shape[:1] == (2,):  # of two classes
            tensor.CopyFrom(onnx.numpy_helper.from_array(-values, tensor.name))
    onnx.save(proto, to)
    return to


def test_whole_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    factories.write_folder_per_class(data, per_class=8)
    run = vt.train("classify", data=data, model="mnist_cnn", image_size=28, epochs=12, batch_size=8, lr=5e-3,
                   out=tmp_path / "run", device="cpu")  # fmt: skip
    file = vt.export(weights=run, to="onnx", out=tmp_path / "net.onnx")
    found = vt.parity(weights=run, data=data, to="", exported=[file])
    assert [row.way for row in found.rows] == ["evaluate", "predict", "net.onnx"]
    assert found.rows[0].scores["top1"] > 0.7
    assert found.failed() == []
    vt.predict("classify", weights=file, source=data / "test", out=tmp_path / "p", formats="jsonl")
    vt.predict("classify", weights=run, source=data / "test", out=tmp_path / "q", formats="jsonl")
    lines = [(tmp_path / each / "predictions.jsonl").read_text().splitlines() for each in "pq"]
    names = [[line.split('"predictions"')[0] for line in part] for part in lines]
    assert names[0] == names[1]

    changed = negated(file, tmp_path / "changed.onnx")
    capsys.readouterr()
    arguments = ["parity", "--weights", str(run), "--data", str(data), "--to", "", "--exported", str(changed)]
    assert _run(typer.main.get_command(app), arguments) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed.onnx")]
    assert line.endswith("DIFFERS")


def untrained(path: Path, model: Any, side: int) -> Path:
    save_model(model, path, InputSpec((side, side), "letterbox"))
    return path


@pytest.mark.slow
def test_boxes(tmp_path: Path) -> None:
    factories.write_voc(tmp_path / "data", classes=("cat", "dog", "eel"), images=9)
    weights = untrained(tmp_path / "best.safetensors", yolo("yolov8n"), 64)
    found = parity(weights=weights, data=tmp_path / "data", to="onnx")
    assert [row.way for row in found.rows] == ["evaluate", "predict", "onnx.onnx"]
    assert found.failed() == []


@pytest.mark.slow
def test_masks(tmp_path: Path) -> None:
    factories.write_mask_pairs(tmp_path / "data", images=4)
    torch.manual_seed(0)
    classes = vt.load_dataset("segment", tmp_path / "data").classes
    weights = untrained(tmp_path / "best.safetensors", create_model("unet:resnet18", classes), 64)
    found = parity(weights=weights, data=tmp_path / "data", to="onnx")
    assert 0 < found.rows[0].scores["pixel_accuracy"] < 1
    assert found.failed() == []


def test_unknown_formats(tmp_path: Path) -> None:
    weights = untrained(tmp_path / "best.safetensors", create_model("mnist_cnn", ("a", "b")), 28)
    with pytest.raises(UserError, match="did you mean onnx"):
        parity(weights=weights, data=tmp_path, to="onn")
