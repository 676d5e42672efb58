"""Whole benchmarks on tiny data, their steps in this process; and every wrong input before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import vision_tasks as vt
from tests import factories
from vision_tasks.benchmarking import clock, run, step
from vision_tasks.benchmarking.layout import Layout, Part
from vision_tasks.benchmarking.plan import read_plan
from vision_tasks.benchmarking.processes import _reason, run_part
from vision_tasks.benchmarking.record import Benchmark, read_benchmark
from vision_tasks.benchmarking.resampled import read_resampled
from vision_tasks.engine.train import Training
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import save_model
from vision_tasks.types import InputSpec

MODELS = ["mlp", "lenet5"]
QUICK = {"models": MODELS, "budget": 1, "seeds": 1, "image_size": 32, "device": "cpu", "batch_size": 8}


@pytest.fixture
def data(tmp_path) -> Path:
    factories.write_folder_per_class(tmp_path / "data", size=(32, 32))
    return tmp_path / "data"


@pytest.fixture
def steps(monkeypatch) -> list[tuple[str, ...]]:
    """Steps run here, and are noted; times are taken briefly."""
    noted: list[tuple[str, ...]] = []

    def here(layout, part, words, title):
        part.folder.mkdir(parents=True, exist_ok=True)
        noted.append(tuple(words))
        try:
            step.KINDS[words[0]](layout, read_plan(layout.path), *words[1:])
        except UserError as error:
            return str(error)
        return ""

    monkeypatch.setattr(run, "run_part", here)
    for name, value in {"ROUNDS": 2, "_RUNS": 3, "_FEWEST": 2, "_SECONDS": 0.01, "_BATCH_SECONDS": 0.01}.items():
        monkeypatch.setattr(clock, name, value)
    return noted


def compared(data: Path, out: Path, **options: object) -> Benchmark:
    return vt.benchmark("classify", data=data, out=out, **QUICK | options)


def test_models_are_trained_scored_clocked_judged_and_drawn(data, tmp_path, steps):
    found = compared(data, tmp_path / "out")
    assert read_benchmark(tmp_path / "out") == found
    assert [(model.name, model.status, model.error) for model in found.models] == [
        (name, "done", "") for name in MODELS
    ]
    for model in found.models:
        (own,) = model.runs
        folder = tmp_path / "out" / own.folder
        assert {"config.toml", "best.safetensors", "metrics.json", "evidence.npz"} <= {p.name for p in folder.iterdir()}
        assert own.metrics["top1"] == pytest.approx(model.quality["top1"].mean)
        assert own.training.epochs == len(own.curve) == 1
        assert model.cost.file_bytes == (folder / "best.safetensors").stat().st_size
        (speed,) = [speed for speed in model.cost.speeds if speed.device == "cpu"]
        assert speed.latency.runs >= 4
        assert speed.latency.p50 <= speed.latency.p99
        assert speed.resident_bytes > model.cost.file_bytes
        assert min(speed.throughput.images_per_second, speed.decode_to_result) > 0
    assert found.models[0].cost.parameters == sum(p.numel() for p in vt.create_model("mlp", "ab").parameters())
    (pair,) = found.judgement.pairs
    assert {pair.better, pair.worse} == set(MODELS)
    assert set(found.judgement.pareto) == {"latency", "memory"}
    assert found.judgement.sentences
    for entry in found.gallery:
        for file in (entry.truth, *entry.predictions.values()):
            with Image.open(tmp_path / "out" / file) as picture:
                assert (picture.format, max(picture.size) <= 360) == ("JPEG", True)


def test_the_same_call_does_nothing_twice_and_what_failed_waits_for_retry(data, tmp_path, steps, monkeypatch):
    first = step.KINDS["train"]
    broken = {"lenet5"}

    def train(layout, plan, name, seed):
        if name in broken:
            raise UserError("the loss is no longer finite")
        first(layout, plan, name, seed)

    monkeypatch.setattr(step, "KINDS", step.KINDS | {"train": train})
    found = compared(data, tmp_path / "out")
    assert [model.status for model in found.models] == ["done", "failed"]
    assert "lenet5 failed: the loss is no longer finite." in found.judgement.sentences
    noted = len(steps)
    compared(data, tmp_path / "out")
    assert len(steps) == noted
    broken.clear()
    found = compared(data, tmp_path / "out", retry=True)
    assert [model.status for model in found.models] == ["done", "done"]
    assert ("train", "lenet5", "0") in steps[noted:]
    assert ("train", "mlp", "0") not in steps[noted:]


def test_a_training_that_was_stopped_goes_on_and_ends_with_the_same_bits(data, tmp_path, steps, monkeypatch):
    whole = compared(data, tmp_path / "whole", models=["mlp"], budget=3)
    finish = Training._finish_epoch

    def stop(self):
        finish(self)
        if self.position.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_finish_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        compared(data, tmp_path / "out", models=["mlp"], budget=3)
    monkeypatch.setattr(Training, "_finish_epoch", finish)
    found = compared(data, tmp_path / "out", models=["mlp"], budget=3)
    ends = [tmp_path / name / "runs" / "mlp--seed0" / "last.safetensors" for name in ("whole", "out")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert [line["loss"] for line in found.models[0].runs[0].curve] == [
        line["loss"] for line in whole.models[0].runs[0].curve
    ]
    assert found.models[0].runs[0].training.energy_joules is None


def test_weights_are_taken_as_they_are(data, tmp_path, steps):
    weights = stored(tmp_path / "elsewhere" / "best.safetensors", ("b", "a"))
    found = compared(data, tmp_path / "out", models=None, weights=[weights])
    (model,) = found.models
    assert (model.name, model.status, model.family) == ("best.safetensors", "done", "classic")
    (own,) = model.runs
    assert (own.seed, own.training, own.folder) == (None, None, "runs/best.safetensors")
    assert own.metrics["top1"] == vt.evaluate("classify", weights=weights, data=data)["top1"]


def test_minutes_become_as_many_epochs_as_fit(data, tmp_path, steps):
    trial = tmp_path / "out" / "trials" / "mlp"
    trial.mkdir(parents=True)
    (trial / "seconds.json").write_text("20.0")
    found = compared(data, tmp_path / "out", models=["mlp"], budget="1 minutes")
    assert found.models[0].runs[0].training.epochs == 3


def test_too_few_images_for_an_interval_are_said(tmp_path, steps):
    factories.write_folder_per_class(tmp_path / "data", per_class=2, size=(32, 32))
    found = compared(tmp_path / "data", tmp_path / "out", models=["mlp"])
    assert found.models[0].quality["top1"].low is None
    assert any("4 images in 'test': too few for an interval" in remark for remark in found.judgement.remarks)


def test_a_subset_is_trained_on_and_told(data, tmp_path, steps):
    found = compared(data, tmp_path / "out", models=["mlp"], limit=6)
    assert (found.data.limit, found.data.training_images) == (6, 6)
    assert found.models[0].runs[0].curve[0]["train_images"] == 6
    assert read_resampled(tmp_path / "out" / "runs" / "mlp--seed0").support == {"a": 6, "b": 6}


def test_a_turn_in_which_the_process_dies_is_not_tried_again(data, tmp_path, steps):
    compared(data, tmp_path / "out", models=["mlp"])
    part = Layout(tmp_path / "out").clock
    (part.folder / "done.json").unlink()
    (part.folder / "turns.jsonl").unlink()
    (part.folder / "now.json").write_text('{"key": "mlp cpu torch", "round": 0}')
    assert clock.blame(Layout(tmp_path / "out"), "ended by SIGKILL")
    assert not clock.blame(Layout(tmp_path / "out"), "ended by SIGKILL")
    found = compared(data, tmp_path / "out", models=["mlp"])
    (speed,) = [speed for speed in found.models[0].cost.speeds if speed.device == "cpu"]
    assert (speed.error, speed.latency) == ("ended by SIGKILL", None)


def stored(path: Path, classes: tuple[str, ...]) -> Path:
    path.parent.mkdir()
    save_model(vt.create_model("mlp", classes), path, InputSpec((32, 32), "crop"))
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["mlp", "lenet"]}, "unknown model 'lenet'; did you mean lenet5"),
        ({"models": ["yolo11n"]}, "model 'yolo11n' is for detect, not for classify"),
        ({"models": ["resnet18", "alexnet"], "settings": {"lrr": 1}}, "unknown setting 'lrr'; did you mean lr"),
        ({"engines": ["tensorrt"]}, "unknown engine 'tensorrt'"),
        ({"seeds": 0}, "plan: seeds"),
        ({"models": ["mlp", "alexnet"]}, "alexnet: images of 32x32 are too small; raise --image-size"),
    ],
)
def test_a_wrong_plan_is_told_before_anything_is_written(options, message, data, tmp_path, steps):
    with pytest.raises(UserError, match=message):
        compared(data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert steps == []


def test_weights_with_other_classes_are_told_before_anything_is_trained(data, tmp_path, steps):
    weights = stored(tmp_path / "elsewhere" / "best.safetensors", ("a", "zebra"))
    with pytest.raises(UserError, match=r"classes differ .*zebra"):
        compared(data, tmp_path / "out", weights=[weights])
    assert steps == []


def test_a_folder_of_another_plan_or_of_other_data_is_refused(data, tmp_path, steps):
    compared(data, tmp_path / "out", models=["mlp"])
    with pytest.raises(UserError, match=r"another plan \(seeds\); give another --out"):
        compared(data, tmp_path / "out", models=["mlp"], seeds=2)
    factories.write_folder_per_class(tmp_path / "other")
    with pytest.raises(UserError, match=r"another plan \(data\)"):
        compared(tmp_path / "other", tmp_path / "out", models=["mlp"])
    next((data / "test" / "b").iterdir()).unlink()
    with pytest.raises(UserError, match="holds a benchmark of other data"):
        compared(data, tmp_path / "out", models=["mlp"])


def test_results_do_not_lie_in_the_data(data, steps):
    with pytest.raises(UserError, match="lies in the data set's own folder"):
        compared(data, data / "out")


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (-9, "", "ended by SIGKILL; often that means that memory was too small"),
        (2, "epoch 1\nerror: no space\nbye\n", "no space"),
        (1, "Traceback (most recent call last):\n  File\nValueError: bad shape\n", "ValueError: bad shape"),
        (1, "a.b.OutOfMemoryError: too much\n", "a.b.OutOfMemoryError: too much"),
        (1, "strange words\n", "strange words"),
    ],
)
def test_why_a_process_failed(code, log, reason, tmp_path):
    (tmp_path / "log.txt").write_text(log)
    assert _reason(code, Part(tmp_path)) == reason


@pytest.mark.slow
def test_processes_of_their_own_work_and_tell_why_they_fail(data, tmp_path, monkeypatch):
    layout = Layout(tmp_path / "out")
    monkeypatch.setattr(run, "run_part", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        compared(data, layout.path, models=["mlp"])
    monkeypatch.undo()
    part = Part(tmp_path / "part")
    assert run_part(layout, part, ("train", "mlp", "0"), "mlp") == ""
    assert json.loads((layout.path / "runs" / "mlp--seed0" / "done.json").read_text())["seed"] == 0
    assert "unknown engine 'mars'" in run_part(layout, part, ("footprint", "mlp", "cpu", "mars"), "mlp")


def _interrupt(*_: object) -> str:
    raise KeyboardInterrupt
