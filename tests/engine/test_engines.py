"""Engines that are chosen by name or by measurement, and what they must keep."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vision_tasks as vt
from tests import factories
from vision_tasks.engine import engine_choice, engines
from vision_tasks.engine.engine_choice import Measured, chosen_engine, fastest
from vision_tasks.engine.engines import placed, with_engine
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.sources import Item, Walk
from vision_tasks.engine.store import Version
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import ModelCard, load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import Batch, ImageInfo, InputSpec, Labels

IMAGES = [torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(number)) for number in range(2)]
INFO = tuple(ImageInfo(str(row), Path(str(row)), (32, 32), np.eye(3)) for row in range(4))
BATCHES: list[Batch[Any]] = [Batch(images, None, (), INFO) for images in IMAGES]


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Inference[Any], ModelCard]:
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_choice, "_SECONDS", 0.02)
    monkeypatch.setattr(engine_choice, "_CANDIDATES", {"cpu": ("torch", "folded")})
    monkeypatch.setattr(engine_choice, "_BF16", {"cpu": ()})
    torch.manual_seed(0)
    save_model(create_model("cifar_resnet20", ("a", "b", "c")), tmp_path / "w.safetensors", InputSpec((32, 32), "crop"))
    model, card = load_model(tmp_path / "w.safetensors")
    return placed(model, "cpu", "fp32"), card


def test_folded_predicts_the_same(ready: tuple[Inference[Any], ModelCard]) -> None:
    inference, card = ready
    torch.testing.assert_close(with_engine(inference, card, "folded")(IMAGES[0]).weight, inference(IMAGES[0]).weight)


def test_a_choice_is_measured_once(ready: tuple[Inference[Any], ModelCard], capsys: pytest.CaptureFixture[str]) -> None:
    chosen = chosen_engine(*ready, BATCHES, 4)
    first = capsys.readouterr().err
    assert "100.00 % as torch" in first
    assert first.count("chosen") == 1
    again = chosen_engine(*ready, BATCHES, 4)
    assert "as measured before" in capsys.readouterr().err
    assert again.at_once == chosen.at_once
    assert torch.equal(again.inference(IMAGES[0]).weight, chosen.inference(IMAGES[0]).weight)


def test_small_batches_are_taken_where_they_are_faster(
    ready: tuple[Inference[Any], ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "_rate", lambda _, batches, *__: 1 / len(batches[0]))
    assert chosen_engine(*ready, BATCHES, 4).at_once == 1
    assert chosen_engine(*ready, BATCHES, 4).canvases == ()  # a border is part of what whole images are judged by


def test_another_model_is_measured_anew(ready: tuple[Inference[Any], ModelCard]) -> None:
    inference, card = ready
    before = engines.fingerprint(inference.model, card)
    assert before == engines.fingerprint(inference.model, card)
    assert before != engines.fingerprint(inference.model, replace(card, input=InputSpec((64, 64), "crop")))
    with torch.no_grad():
        next(inference.model.parameters())[0] += 1
    assert before != engines.fingerprint(inference.model, card)


def test_a_faster_engine_that_says_something_else_is_not_taken(
    ready: tuple[Inference[Any], ModelCard], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Wrong(Inference[Any]):
        def __call__(self, images: torch.Tensor) -> Any:
            return Labels(-super().__call__(images).weight)

    inference, card = ready
    monkeypatch.setitem(engines.ENGINES, "folded", lambda one, _: Wrong(one.model, one.device, one.precision))  # type: ignore[arg-type]
    monkeypatch.setattr(engine_choice, "_rate", lambda one, *_: 99.0 if isinstance(one, Wrong) else 1.0)
    assert chosen_engine(inference, card, BATCHES, 4).inference is inference
    assert "too different" in capsys.readouterr().err


def test_few_images_are_not_measured(
    ready: tuple[Inference[Any], ModelCard], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inference, card = ready
    factories.write_folder_per_class(tmp_path / "data", per_class=1)
    assert fastest(inference, card, Walk([tmp_path / "data"]), 4).inference is inference
    assert "engine: torch; to measure others takes longer than 6 images do" in capsys.readouterr().err


def test_many_images_are_measured_on_their_canvases(
    ready: tuple[Inference[Any], ModelCard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference, card = ready
    factories.write_folder_per_class(tmp_path / "data", per_class=2)
    (tmp_path / "data" / "train" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff none")
    monkeypatch.setattr(engine_choice, "TOO_FEW", 5)
    seen: list[Batch[Any]] = []
    monkeypatch.setattr(engine_choice, "chosen_engine", lambda *given, **_: seen.extend(given[2]))
    fastest(inference, card, Walk([tmp_path / "data"]), 4)
    assert {tuple(batch.images.shape[1:]) for batch in seen} == {(3, 32, 32)}
    assert 4 <= sum(map(len, seen)) <= 5


def test_ways_are_timed_in_turns(ready: tuple[Inference[Any], ModelCard], monkeypatch: pytest.MonkeyPatch) -> None:
    inference, _ = ready
    one, two = BATCHES[:1], BATCHES[1:]
    rates = iter([10.0, 8.0, 1.0, 8.0, 10.0, 8.0])  # in the second turn others had the machine
    order = []
    monkeypatch.setattr(engine_choice, "_rate", lambda _, batches, least: order.append((batches, least)) or next(rates))
    assert engine_choice._in_turns(inference, [one, two], 3) == [10, 8]
    assert [batches for batches, _ in order] == [one, two] * 3
    assert sum(least for _, least in order) == pytest.approx(2 * engine_choice._SECONDS)


@pytest.mark.parametrize("speed", [1.0, 1e9])  # each way by some images, or by all of them in turns
def test_canvases_without_border_are_measured_where_an_image_is_broken(
    speed: float, ready: tuple[Inference[Any], ModelCard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    factories.write_folder_per_class(tmp_path / "data", per_class=3, size=(32, 96))
    (tmp_path / "data" / "test" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff none")
    net = create_model("unet:resnet18", ("a", "b"))
    with torch.no_grad():
        dict(net.named_parameters())["net.segmentation_head.0.bias"][0] = 100  # says "a" of each pixel, border or not
    save_model(net, tmp_path / "net.safetensors", InputSpec((192, 192), "letterbox"))
    model, card = load_model(tmp_path / "net.safetensors")
    monkeypatch.setattr(engine_choice, "TOO_FEW", 5)
    # An empty batch, which some networks can't predict, would be an error here.
    monkeypatch.setattr(
        engine_choice, "_rate", lambda _, batches, *__: min(speed / one.images.numel() for one in batches)
    )
    chosen = fastest(placed(model, "cpu", "fp32"), card, Walk([tmp_path / "data"]), 4)
    assert chosen.canvases == ((128, 192),)  # of 64 rows of image and 64 of border on both sides
    table = capsys.readouterr().err
    assert "trimmed" in table
    assert "too different" not in table


def test_what_takes_long_to_get_ready_is_measured_for_many_images_only(
    ready: tuple[Inference[Any], ModelCard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inference, card = ready
    started: list[str] = []
    monkeypatch.setitem(engines.ENGINES, "compile", lambda one, _: started.append("compile") or one)  # type: ignore[arg-type]
    chosen_engine(inference, card, BATCHES, 4)
    assert started == []
    chosen_engine(inference, card, BATCHES, 4, many=True)  # what was remembered for a few doesn't count
    assert started == ["compile"]
    factories.write_folder_per_class(tmp_path / "data", per_class=2)
    monkeypatch.setattr(engine_choice, "TOO_FEW", 5)
    told: list[bool] = []
    monkeypatch.setattr(engine_choice, "chosen_engine", lambda *_, many: told.append(many))
    for least in (6, 1000):
        monkeypatch.setattr(engine_choice, "MANY", least)
        fastest(inference, card, Walk([tmp_path / "data"]), 4)
    assert told == [True, False]


def test_candidates_are_those_that_a_device_may_gain_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "choose_precision", lambda *_: "fp32")
    cpu, cuda, other = (torch.device(name) for name in ("cpu", "cuda", "meta"))
    assert engine_choice._candidates(cpu, False) == ("torch", "folded", "onnx", "openvino")
    assert engine_choice._candidates(cuda, True) == ("torch", "folded", "compile")
    assert engine_choice._candidates(other, True) == ()
    monkeypatch.setattr(engine_choice, "choose_precision", lambda *_: "bf16")
    assert engine_choice._candidates(cuda, True) == ("torch", "folded", "folded-bf16", "compile", "compile-bf16")


def test_a_spoilt_memory_is_measured_again(ready: tuple[Inference[Any], ModelCard], tmp_path: Path) -> None:
    chosen_engine(*ready, BATCHES, 4)
    (memory,) = (tmp_path / "cache" / "engines").glob("*.json")
    memory.write_text("{")
    chosen_engine(*ready, BATCHES, 4)
    assert json.loads(memory.read_text())["chosen"]["engine"] in ("torch", "folded")


def test_a_table_tells_what_was_chosen() -> None:
    assert (
        Measured("onnx", 12.34, 0.5, False).line("torch")
        == "  onnx          12.3 images/s   50.00 % as torch  too different"
    )
    best = Measured("onnx", 12.34, 1.0, True, 4, True)
    assert best.line(best.name) == "  onnx, trimmed, batch 4     12.3 images/s  100.00 % as torch  chosen"


def test_wrong_engines_are_told(ready: tuple[Inference[Any], ModelCard], tmp_path: Path) -> None:
    inference, card = ready
    with pytest.raises(UserError, match="did you mean onnx"):
        with_engine(inference, card, "onx")
    with pytest.raises(UserError, match="measures on the images of predict"):
        with_engine(inference, card, "auto")
    with pytest.raises(UserError, match="runs in fp32"):
        with_engine(replace(inference, precision="bf16"), card, "onnx")
    other = create_model("ssdlite320_mobilenet_v3_large", ("a",))
    with pytest.raises(UserError, match="chooses regions inside"):
        with_engine(Inference(other, torch.device("cpu"), "fp32"), card, "compile")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_predict_what_torch_does(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "cache"))
    factories.write_folder_per_class(tmp_path / "data")
    torch.manual_seed(0)
    save_model(create_model("mnist_cnn", ("a", "b")), tmp_path / "w.safetensors", InputSpec((28, 28), "stretch"))
    rows = []
    for name in ("torch", engine):
        out = tmp_path / name
        vt.predict("classify", weights=tmp_path / "w.safetensors", source=tmp_path / "data", out=out, formats="jsonl",
                   engine=name)  # fmt: skip
        rows.append([json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()])
    for one, two in zip(*rows, strict=True):
        assert [each["label"] for each in one["predictions"]] == [each["label"] for each in two["predictions"]]
        assert [each["score"] for each in one["predictions"]] == pytest.approx(
            [each["score"] for each in two["predictions"]], abs=1e-4
        )


def test_engines_are_timed_by_no_more_batches_than_it_takes() -> None:
    batches = [BATCHES[0]] * 3
    size = len(BATCHES[0])
    assert [len(engine_choice._first(batches, count)) for count in (1, size, size + 1, 9 * size)] == [1, 1, 2, 3]


def test_classes_are_compared_by_more_images_than_boxes_on_large_canvases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image of 32 would be more than the hundredth that may differ; of large ones so many would fill memory."""
    counts = []
    monkeypatch.setattr(engine_choice, "fitted_plans", lambda count, *_: counts.append(count) or [])
    items = [Item(str(i), tmp_path, Version(1, 1)) for i in range(engine_choice.TOO_FEW)]
    for side in (224, 640, 2048):
        engine_choice._sample(items, InputSpec((side, side), "letterbox"), 16, torch.device("cpu"))
    assert counts == [100, 50, 29]
