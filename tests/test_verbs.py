"""The verbs on what they are for, end to end: several labels, many bands, stored predictions, cards, odd names."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import vision_tasks as vt
from tests import factories
from vision_tasks.augment.policy import STRENGTHS, strength
from vision_tasks.commands.configuration import resolve_config
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import model_entry
from vision_tasks.tasks import get_task

QUICK = {"model": "mnist_cnn", "image_size": 28, "epochs": 1, "batch_size": 8, "device": "cpu"}


def write_several(root: Path, count: int = 30):
    """Pictures with a red, a green, a blue half or none of them: {path: labels}."""
    rows = {}
    for i in range(count):
        labels = [name for bit, name in enumerate(("red", "green", "blue")) if i >> bit & 1]
        image = np.full((32, 32, 3), 60, np.uint8)
        for bit in range(3):
            image[:, 10 * bit : 10 * bit + 10, bit] = 220 if i >> bit & 1 else 60
        (root / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "images" / f"{i:02}.png")
        rows[f"images/{i:02}.png"] = labels
    lines = [f"{path},{'|'.join(labels)}" for path, labels in rows.items()]
    (root / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return rows


def test_several_labels_the_whole_way(tmp_path):
    truth = write_several(tmp_path / "data")
    run = vt.train("classify", data=tmp_path / "data", out=tmp_path / "run", **QUICK | {"epochs": 15, "lr": 5e-3})
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["loss"] == line["loss_binary_cross_entropy"]
    assert "map" in line
    metrics = vt.evaluate("classify", weights=run, data=tmp_path / "data", split="all", out=tmp_path / "scores")

    vt.predict("classify", weights=run, source=tmp_path / "data", out=tmp_path / "p", conf=0.0, formats="jsonl")
    classes = sorted(metrics["per_class"])
    rows = [json.loads(row) for row in (tmp_path / "p" / "predictions.jsonl").read_text().splitlines()]
    scores = np.array([[dict(map(dict.values, row["predictions"]))[name] for name in classes] for row in rows])
    hot = np.array([[name in truth[row["image"]] for name in classes] for row in rows])
    assert metrics["map"] > 0.8
    low, high = metrics["map_ci"]
    assert low <= metrics["map"] <= high

    stored = vt.evaluate("classify", predictions=tmp_path / "p" / "predictions.jsonl", data=tmp_path / "data",
                         split="all")  # fmt: skip
    assert stored["map"] == pytest.approx(average_precision_score(hot, scores, average="macro"), abs=1e-9)
    # The file's six decimals can make a tie of two scores, which moves the precision at one place of the ranking.
    assert stored["map"] == pytest.approx(metrics["map"], abs=1 / len(rows))


def test_weights_of_one_label_do_not_judge_several(tmp_path):
    write_several(tmp_path / "data")
    factories.write_folder_per_class(tmp_path / "one", ("red", "green", "blue"))
    run = vt.train("classify", data=tmp_path / "one", out=tmp_path / "run", **QUICK)
    with pytest.raises(vt.UserError, match="several labels"):
        vt.evaluate("classify", weights=run, data=tmp_path / "data", split="all")


def write_bands(root: Path, bands: int = 5):
    """Two classes that differ in the fourth band only."""
    rasterio = pytest.importorskip("rasterio")
    luck = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label, name in enumerate(("dry", "wet")):
            for i in range(8):
                values = luck.integers(900, 1100, (bands, 24, 24)).astype(np.uint16)
                values[3] += 1500 * label
                path = root / split / name / f"{i}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = {"width": 24, "height": 24, "count": bands, "dtype": "uint16"}
                with rasterio.open(path, "w", driver="GTiff", **shape) as file:
                    file.write(values)


@pytest.mark.parametrize("bands", ["all", "4,1,2"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # rasterio: a picture without a place on earth
def test_many_bands_the_whole_way(bands, tmp_path):
    write_bands(tmp_path / "data")
    run = vt.train("classify", data=tmp_path / "data", out=tmp_path / "run", bands=bands, band_range="0,3000",
                   **QUICK | {"model": "resnet18", "image_size": 32, "epochs": 14})  # fmt: skip
    model, card = load_model(run)
    assert card.input.bands.numbers == ((1, 2, 3, 4, 5) if bands == "all" else (4, 1, 2))
    assert model.net.conv1.weight.shape[1] == card.input.channels
    assert vt.evaluate("classify", weights=run, data=tmp_path / "data")["top1"] == 1
    summary = vt.predict("classify", weights=run, source=tmp_path / "data" / "test", out=tmp_path / "p")
    assert (summary.predicted, summary.failed) == (16, 0)
    drawn = np.asarray(Image.open(tmp_path / "p" / "drawings" / "wet" / "0.tif.png"))
    assert drawn[:200].mean() > 60  # 1000 of 3000 is a third of white


def test_many_bands_are_chosen_by_the_user(tmp_path):
    write_bands(tmp_path / "data")
    with pytest.raises(vt.UserError, match=r"has 5 bands.*--bands all"):
        vt.train("classify", data=tmp_path / "data", out=tmp_path / "run", **QUICK)


def test_all_bands_need_one_readable_image(tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    first = tmp_path / "data" / "train" / "a" / "000.jpg"
    first.write_text("no picture")
    run = vt.train("classify", data=tmp_path / "data", out=tmp_path / "run", bands="all", **QUICK)
    assert load_model(run)[1].input.bands.numbers == (1, 2, 3)


def test_stored_predictions_are_scored_as_scikit_learn_does(tmp_path):
    truth = factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"))["test"]
    luck = np.random.default_rng(0)
    guesses = {path: luck.dirichlet((1, 1, 1)) for path in truth}
    with (tmp_path / "guesses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "a", "b", "c"])
        writer.writerows([f"some/where/{path}", *values] for path, values in guesses.items())
    found = vt.evaluate("classify", predictions=tmp_path / "guesses.csv", data=tmp_path / "data", out=tmp_path / "e")
    predicted = ["abc"[values.argmax()] for values in guesses.values()]
    assert found["top1"] == pytest.approx(accuracy_score(list(truth.values()), predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(list(truth.values()), predicted, average="macro"))
    written = {"metrics.json", "confusion.csv", "confusion.png", "reliability.png", "report.html"}
    assert {path.name for path in (tmp_path / "e").iterdir()} == written


def test_evaluate_takes_either_weights_or_predictions(tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    with pytest.raises(vt.UserError, match="either --weights"):
        vt.evaluate("classify", data=tmp_path / "data")


def test_classes_in_another_order_are_matched_by_name(tmp_path):
    """A class list beside an IDX set may name the digits in any order: the same images, the same score."""
    for name, order in (("one", (0, 1)), ("other", (1, 0))):
        rows = factories.write_folder_per_class(tmp_path / name, ("a", "b"))
        assert rows
        if order == (1, 0):
            (tmp_path / name / "classes.txt").write_text("b\na\n")
    run = vt.train("classify", data=tmp_path / "one", out=tmp_path / "run", **QUICK | {"epochs": 3})
    expected = vt.evaluate("classify", weights=run, data=tmp_path / "one")
    dataset = vt.load_dataset("classify", tmp_path / "one")
    sample = dataset.splits["test"][0]
    assert sample.truth(None).renumbered((1, 0)).weight.tolist() == [sample.truth(None).weight[0].tolist()[::-1]]
    assert vt.evaluate("classify", weights=run, data=tmp_path / "other")["top1"] == expected["top1"]


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are POSIX")
def test_names_of_any_bytes_train_and_resume(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    factories.write_folder_per_class(tmp_path / "plain")  # OpenCV can't write to such a path
    (tmp_path / "plain").rename(root)
    bad = root / "train" / "a" / os.fsdecode(b"z\xff.jpg")
    bad.write_text("no picture")
    run = vt.train("classify", data=root, out=tmp_path / "run", **QUICK)
    assert vt.train("classify", resume=run) == run


def test_a_card_of_other_tasks_is_not_fetched(monkeypatch):
    monkeypatch.setattr("vision_tasks.commands.datasets.data_path", lambda *_: pytest.fail("fetched"))
    with pytest.raises(vt.UserError, match="is for segment, not for detect"):
        vt.train("detect", data="camvid")
    with pytest.raises(vt.UserError, match="is for detect and segment, not for classify"):
        vt.train("classify", data="coco2017")


def test_a_folder_called_as_a_card_does_not_hide_it(tmp_path, monkeypatch):
    factories.write_folder_per_class(tmp_path / "data")
    (tmp_path / "imagenet").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "cache"))
    asked = []

    def fetch(url, *_args, **_options):
        asked.append(url)
        raise vt.UserError("offline")

    monkeypatch.setattr("vision_tasks.models.weights.fetch", fetch)
    with pytest.raises(vt.UserError, match="offline"):
        vt.train("classify", data="data", model="resnet18", weights="imagenet", image_size=32, out="run")
    assert "resnet18" in asked[0]


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
@pytest.mark.parametrize("name", STRENGTHS)
def test_single_settings_have_the_last_word_on_a_named_strength(task, name):
    record, single = get_task(task), {"augment.quarter_turns": True, "augment.shift": 0.07}
    without, chosen = (resolve_config(record, None, name, None, each) for each in ({}, single))
    assert chosen.augment == without.augment.model_copy(update={"quarter_turns": True, "shift": 0.07})
    assert without.augment == strength(name, resolve_config(record, None, None, None, {}).augment)


@pytest.mark.parametrize("name", ["mnist_cnn", "yolov8n", "unet:resnet18"])
def test_settings_of_one_training_are_not_those_of_the_next(name: str) -> None:
    task = get_task(model_entry(name).task)
    before = resolve_config(task, name, None, None, {})
    single = {"augment.cutmix": 0.5, "augment.shift": 0.07}
    assert resolve_config(task, name, None, None, single).augment.cutmix == 0.5
    assert resolve_config(task, name, None, None, {}) == before
