"""A temperature is fitted to val, kept with the weights, and changes what is claimed, but no class."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vision_tasks as vt
from tests import factories
from vision_tasks.data.decode import read_image
from vision_tasks.errors import UserError
from vision_tasks.metrics.temperature import fit_temperature
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec

CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    factories.write_folder_per_class(root, CLASSES, per_class=6, size=(28, 28))
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Better than chance, but it claims far too much: untrained, its logits made thirty times as large."""
    torch.manual_seed(20)
    model = create_model("mnist_cnn", CLASSES)
    with torch.no_grad():
        model.net.fc2.weight.mul_(30)
    save_model(model, tmp_path / "w.safetensors", InputSpec((28, 28), "stretch"), {"note": "kept"})
    return tmp_path / "w.safetensors"


def expected_temperature(weights: Path, data: Path) -> float:
    """From the files of val alone: as large as the canvas, they are taken as they are."""
    model, _ = load_model(weights)
    logits, label = [], []
    for number, name in enumerate(CLASSES):
        for path in sorted((data / "val" / name).iterdir()):
            image = torch.from_numpy(np.asarray(read_image(path).pixels)).permute(2, 0, 1)[None] / 255
            with torch.no_grad():
                logits.append(model.outputs(image)[0].double().numpy())
            label.append(number)
    found = fit_temperature(np.concatenate(logits), np.array(label))
    assert found is not None
    return found


def test_it_is_fitted_to_val_kept_and_used(tmp_path: Path, data: Path, weights: Path) -> None:
    plain = vt.evaluate("classify", weights=weights, data=data, split="test")
    assert "temperature" not in plain
    tensors, expected = load_file(weights), expected_temperature(weights, data)
    found = vt.evaluate("classify", weights=weights, data=data, split="test", out=tmp_path / "e", calibrate=True)
    assert found["temperature"] == pytest.approx(expected, rel=1e-4)
    assert found["temperature"] > 1
    assert found["ece_uncalibrated"] == plain["ece"]
    assert found["ece"] < plain["ece"]
    assert (found["top1"], found["confusion"]) == (plain["top1"], plain["confusion"])
    again = vt.evaluate("classify", weights=weights, data=data, split="test")
    assert (again["ece"], again["temperature"]) == (found["ece"], found["temperature"])
    model, card = load_model(weights)
    assert (model.temperature, card.extra) == (found["temperature"], {"note": "kept"})
    after = load_file(weights)
    assert tensors.keys() == after.keys()
    assert all(tensors[name].equal(after[name]) for name in tensors)
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())["temperature"] == found["temperature"]
    assert (tmp_path / "e" / "reliability.png").exists()


def test_fitting_again_starts_anew(data: Path, weights: Path) -> None:
    first = vt.evaluate("classify", weights=weights, data=data, calibrate=True)
    second = vt.evaluate("classify", weights=weights, data=data, calibrate=True)
    for name in ("temperature", "ece", "ece_uncalibrated"):
        assert second[name] == first[name]


def test_probabilities_are_those_of_divided_logits(weights: Path) -> None:
    model, card = load_model(weights)
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.outputs(images)[0].double()
    model.temperature = 7.5
    torch.testing.assert_close(model.predict(images).weight.double(), (logits / 7.5).softmax(dim=1), atol=1e-6, rtol=0)
    save_model(model, weights, card.input)
    assert load_model(weights)[0].temperature == 7.5


def test_old_files_have_a_temperature_of_1(weights: Path) -> None:
    model, card = load_model(weights)
    assert (model.temperature, replace(card).temperature) == (1.0, 1.0)


def test_where_none_is_the_best_it_is_1_again(
    data: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vt.evaluate("classify", weights=weights, data=data, calibrate=True)
    monkeypatch.setattr("vision_tasks.engine.calibrate.fit_temperature", lambda *_: None)
    found = vt.evaluate("classify", weights=weights, data=data, calibrate=True)
    assert found["temperature"] == 1
    assert found["ece"] == found["ece_uncalibrated"]
    assert load_model(weights)[0].temperature == 1
    assert "it stays 1" in capsys.readouterr().err


def test_tasks_without_one_class_an_image_are_told_so(tmp_path: Path, data: Path) -> None:
    for task, name in (("detect", "yolo11n"), ("segment", "unet:resnet18")):
        save_model(create_model(name, CLASSES), tmp_path / f"{task}.safetensors", InputSpec((64, 64), "letterbox"))
        with pytest.raises(UserError, match="a temperature is for one class a whole image"):
            vt.evaluate(task, weights=tmp_path / f"{task}.safetensors", data=data, calibrate=True)
    several = create_model("mnist_cnn", CLASSES, exclusive=False)
    save_model(several, tmp_path / "several.safetensors", InputSpec((28, 28), "stretch"))
    with pytest.raises(UserError, match="several labels of an image, each for itself"):
        vt.evaluate("classify", weights=tmp_path / "several.safetensors", data=data, calibrate=True)
    with pytest.raises(UserError, match="give --weights, not --predictions"):
        vt.evaluate("classify", predictions=tmp_path / "x.csv", data=data, calibrate=True)
