"""Transfer learning in its three forms, and what a backbone that is held still means."""

import json

import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vision_tasks as vt
from tests import factories
from vision_tasks.engine.optimisation import Holder
from vision_tasks.models.checkpoint import load_model


def train(tmp_path, out, **options):
    if not (tmp_path / "data").exists():
        factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"), per_class=8)
    settings = {"model": "resnet18", "image_size": 32, "epochs": 2, "batch_size": 8, "device": "cpu"} | options
    return vt.train("classify", data=tmp_path / "data", out=tmp_path / out, **settings)


def moved(before, after):
    """The parts whose tensors differ: conv1, layer1, ..., fc."""
    return {name.split(".")[1] for name, tensor in after.items() if not tensor.equal(before[name])}


def untrained(classes=("a", "b", "c")):
    torch.manual_seed(0)
    return vt.create_model("resnet18", classes).state_dict()


def test_a_number_holds_the_first_parts_of_the_backbone(tmp_path):
    """The backbone's parts with parameters: conv1, bn1, layer1, layer2, layer3, layer4."""
    run = train(tmp_path, "run", freeze=4)
    assert moved(untrained(), load_file(run / "last.safetensors")) == {"layer3", "layer4", "fc"}


def test_more_parts_than_there_are(tmp_path):
    with pytest.raises(vt.UserError, match="resnet18 has 6 parts"):
        train(tmp_path, "run", freeze=7)


def test_the_head_first_then_everything_slowly(tmp_path, capsys):
    head = load_file(train(tmp_path, "head", epochs=1, freeze="backbone") / "last.safetensors")
    assert moved(untrained(), head) == {"fc"}
    run = train(tmp_path, "whole", epochs=2, freeze_epochs=1, fine_tune_rate=0.05, schedule="constant",
                warmup_epochs=0.0)  # fmt: skip
    assert {"conv1", "bn1", "layer4", "fc"} <= moved(head, load_file(run / "last.safetensors"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["lr"] == pytest.approx(0.05 * lines[0]["lr"])
    assert "everything learns from now on" in capsys.readouterr().err


def test_letting_go_wakes_nothing_that_never_learned():
    model = vt.create_model("yolo11n", ("a", "b"))  # has a fixed convolution in its head
    before = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(before) < len(list(model.parameters()))
    holder = Holder(model)
    holder.hold("backbone")
    holder.hold("none")
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == before


def test_held_parts_keep_their_statistics_too():
    model = vt.create_model("resnet18", ("a", "b"))
    Holder(model).hold(3)
    modes = {
        name: module.training for name, module in model.net.named_modules() if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert not modes["bn1"]
    assert not modes["layer1.0.bn1"]
    assert modes["layer2.0.bn1"]


def test_a_probe_is_scikit_learns_logistic_regression_on_the_networks_features(tmp_path):
    start = train(tmp_path, "start", epochs=1)
    run = train(tmp_path, "probe", weights=str(start), probe=True)
    before, after = load_file(start / "last.safetensors"), load_file(run / "best.safetensors")
    assert moved(before, after) == {"fc"}

    model, card = load_model(run)
    features, labels = {}, {}
    for split in ("train", "test"):
        images, names = canvases(tmp_path / "data" / split, card)
        features[split], labels[split] = model.features(images).numpy(), names
    judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    expected = judge.fit(features["train"], labels["train"]).predict(features["test"])
    found = model.predict(canvases(tmp_path / "data" / "test", card)[0]).weight.argmax(dim=1)
    assert [card.classes[i] for i in found] == expected.tolist()
    line = json.loads((run / "metrics.jsonl").read_text())
    assert line["top1"] > 0.5
    assert line["train_images"] == 24


def canvases(folder, card):
    from vision_tasks.augment.plan import fitted
    from vision_tasks.data.loader import Loader
    from vision_tasks.types import Sample

    paths = sorted(folder.rglob("*.jpg"))
    samples = [Sample(str(path), path, lambda _: None) for path in paths]
    plans = [fitted(range(len(samples)), card.input.canvas, card.input.fit)]
    batch = next(iter(Loader(samples, plans, card.input.canvas, detail=card.input.canvas, truth="none")))
    return batch.images, [path.parent.name for path in paths]


def test_a_probed_run_is_finished(tmp_path):
    run = train(tmp_path, "probe", probe=True)
    before = (run / "last.safetensors").read_bytes()
    vt.train("classify", resume=run)
    assert (run / "last.safetensors").read_bytes() == before


def test_a_detector_has_no_layer_to_probe(tmp_path):
    factories.write_voc(tmp_path / "data")
    with pytest.raises(vt.UserError, match="leave out --probe"):
        vt.train("detect", data=tmp_path / "data", model="yolo11n", image_size=64, probe=True, out=tmp_path / "run")
