"""Stored masks score as the model that predicted them, and the worst images are drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks as vt
from tests import factories
from vision_tasks.engine.worst import write_worst
from vision_tasks.types import Masks, Sample

SCORES = ("miou", "dice", "pixel_accuracy", "miou_per_image", "boundary_iou")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    factories.write_mask_pairs(root, images=3)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("run") / "r"
    return vt.train("segment", data=data, model="unet:resnet18", image_size=64, epochs=1, batch_size=3, out=out)


def test_stored_masks_of_predict_score_as_evaluate_does(tmp_path: Path, data: Path, weights: Path) -> None:
    own = vt.evaluate("segment", weights=weights, data=data, out=tmp_path / "e")
    vt.predict("segment", weights=weights, source=data / "test" / "images", out=tmp_path / "p", formats="masks")
    stored = vt.evaluate("segment", predictions=tmp_path / "p", data=data, out=tmp_path / "s")
    for name in SCORES:
        assert stored[name] == own[name]
        assert stored[f"{name}_ci"] == own[f"{name}_ci"]
    assert stored["confusion"] == own["confusion"]
    assert np.sum(own["confusion"]) == 3 * 48 * 64
    assert json.loads((tmp_path / "s" / "metrics.json").read_text())["worst"] == own["worst"]
    first, second = (np.asarray(Image.open(tmp_path / name / "worst.png")) for name in ("e", "s"))
    np.testing.assert_array_equal(first, second)
    assert {path.name for path in (tmp_path / "e").iterdir()} >= {"confusion.csv", "confusion.png", "worst.png"}


def test_truth_itself_scores_one(tmp_path: Path, data: Path) -> None:
    found = vt.evaluate("segment", predictions=data / "test" / "masks", data=data, out=tmp_path)
    assert [found[name] for name in SCORES] == [1] * 5


def test_images_that_are_gone_have_no_row(tmp_path: Path) -> None:
    written = factories.write_mask_pairs(tmp_path / "data", images=2)
    for name in written["test"]:
        (tmp_path / "data" / name).write_bytes(b"")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "worst.png").write_text("of an earlier evaluation")
    vt.evaluate("segment", predictions=tmp_path / "data" / "test" / "masks", data=tmp_path / "data", out=tmp_path / "e")
    assert not (tmp_path / "e" / "worst.png").exists()


def test_rows_stand_in_the_order_of_the_scores_with_image_truth_and_prediction(tmp_path: Path) -> None:
    samples, seen = [], []
    for i in range(3):
        factories.save(tmp_path / f"{i}.png", np.full((4, 5, 3), 10 * i, np.uint8))
        truth = Masks(torch.full((1, 4, 5), i, dtype=torch.uint8), 3)
        samples.append(Sample(f"{i}.png", tmp_path / f"{i}.png", lambda _, truth=truth: truth))
    predictions = [Masks(torch.full((1, 4, 5), 2 - i, dtype=torch.uint8), 3) for i in range(3)]

    def compare(pixels: np.ndarray, prediction: Masks, truth: Masks, classes: tuple, title: str) -> np.ndarray:
        seen.append((pixels.max(), prediction.index.max().item(), truth.index.max().item(), classes, title))
        return np.full((6, 5 + len(seen), 3), 50 * len(seen), np.uint8)

    worst = [{"image": "2.png", "miou": 0.1}, {"image": "0.png", "miou": 0.25}]
    assert write_worst(tmp_path / "w.png", compare, worst, samples, predictions.__getitem__, ("a", "b", "c"))
    names = ("a", "b", "c")
    assert seen == [(20, 0, 2, names, "1. miou 0.100: 2.png"), (0, 2, 0, names, "2. miou 0.250: 0.png")]
    picture = np.asarray(Image.open(tmp_path / "w.png"))
    assert [picture[0, 0, 0], picture[18, 6, 0], picture[0, 6, 0], picture[8, 0, 0]] == [50, 100, 255, 255]


def test_names_of_classes_are_drawn_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose name no font has, or that has several lines, would end the evaluation or show empty boxes."""
    factories.write_mask_pairs(tmp_path / "data", images=2)
    seen = []
    monkeypatch.setattr(
        "vision_tasks.commands.evaluate.drawable", lambda classes: tuple(f"<{name}>" for name in classes)
    )
    monkeypatch.setattr("vision_tasks.commands.evaluate.write_worst", lambda *given: seen.append(given[5]))
    found = vt.evaluate("segment", predictions=tmp_path / "data/test/masks", data=tmp_path / "data", out=tmp_path / "e")
    assert seen == [tuple(f"<{name}>" for name in found["per_class"])]
