"""Folder inference: every file gets a line, nothing stops it, and what it says is what `evaluate` scores."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks as vt
from tests import factories
from vision_tasks.augment.plan import Fit
from vision_tasks.data.decode import read_image
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.tasks import get_task
from vision_tasks.types import InputSpec
from vision_tasks.warp import BORDER, warp_into

CASES = {
    "classify": ("resnet18", factories.write_folder_per_class, (32, 32)),
    "detect": ("yolo11n", factories.write_voc, (64, 64)),
    "segment": ("unet:resnet18", factories.write_mask_pairs, (64, 64)),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained checkpoint for every task: predictions need not be good here, only the same everywhere."""
    folder = tmp_path_factory.mktemp("weights")
    for task, (name, _, canvas) in CASES.items():
        torch.manual_seed(0)
        save_model(vt.create_model(name, ("a", "b")), folder / f"{task}.safetensors", InputSpec(canvas, "letterbox"))
    return folder


@pytest.fixture
def photos(tmp_path):
    """Images in folders, two of the same name, and things that are none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in (("a.jpg", (60, 80)), ("sub/a.jpg", (50, 40)), ("b.png", (33, 97)), ("no-extension", (20, 20))):
        picture = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
        picture.save(folder / name, "PNG" if name == "no-extension" else None)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:100])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpg").write_text("I am not a picture")
    (folder / "notes.txt").write_text("other")
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("task", CASES)
def test_every_file_is_accounted_for(task, weights, photos, tmp_path):
    out = tmp_path / "out"
    summary = vt.predict(task, weights=weights / f"{task}.safetensors", source=photos, out=out, conf=0.0)
    assert (summary.predicted, summary.failed, summary.skipped) == (4, 3, 1)
    rows = lines(out / "predictions.jsonl")
    assert [row["image"] for row in rows] == ["a.jpg", "b.png", "no-extension", "sub/a.jpg"]
    assert {row["image"] for row in lines(out / "failures.jsonl")} == {"broken.jpg", "empty.png", "words.jpg"}
    assert all(row["reason"] for row in lines(out / "failures.jsonl"))
    for row in rows:
        picture = Image.open(photos / row["image"])
        assert (row["width"], row["height"]) == picture.size
        assert row["sha256"] == hashlib.sha256((photos / row["image"]).read_bytes()).hexdigest()
        assert row["predictions"]
        assert (out / "drawings" / f"{row['image']}.png").exists()


def canvas_of(path, canvas):
    """One image on its canvas, step by step."""
    decoded = read_image(path, canvas)
    pixels = np.full((*canvas, 3), BORDER, np.uint8)
    matrix = Fit(canvas, "letterbox")(decoded.size)
    warp_into(pixels, decoded.pixels, matrix @ decoded.to_original, reduction=decoded.reduction)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, matrix


def test_classes_and_scores(weights, photos, tmp_path):
    vt.predict("classify", weights=weights / "classify.safetensors", source=photos / "a.jpg", out=tmp_path / "o")
    model, _ = load_model(weights / "classify.safetensors")
    images, _ = canvas_of(photos / "a.jpg", (32, 32))
    expected = model.predict(images).weight[0]
    found = lines(tmp_path / "o" / "predictions.jsonl")[0]["predictions"]
    assert {row["label"]: row["score"] for row in found} == pytest.approx(
        dict(zip(("a", "b"), expected.tolist(), strict=True)), abs=2e-6
    )
    assert found[0]["score"] >= found[1]["score"]


def test_boxes_are_in_original_pixels(weights, photos, tmp_path):
    vt.predict("detect", weights=weights / "detect.safetensors", source=photos / "a.jpg", out=tmp_path / "o", conf=0.0)
    model, _ = load_model(weights / "detect.safetensors")
    images, matrix = canvas_of(photos / "a.jpg", (64, 64))
    boxes = model.predict(images).flat()
    found = lines(tmp_path / "o" / "predictions.jsonl")[0]["predictions"]
    best = int(boxes.score[0].argmax())
    (x0, y0, _), (x1, y1, _) = (
        np.linalg.inv(matrix) @ (*corner, 1) for corner in boxes.xyxy[0, best].view(2, 2).tolist()
    )
    expected = np.clip([x0, y0, x1, y1], 0, [80, 60, 80, 60])
    np.testing.assert_allclose(found[0]["box"], expected, atol=2e-3)
    assert found[0]["score"] == pytest.approx(float(boxes.score[0, best]), abs=1e-5)
    scores = [row["score"] for row in found]
    assert scores == sorted(scores, reverse=True)


def test_masks_have_the_originals_size_and_the_counted_area(weights, photos, tmp_path):
    vt.predict("segment", weights=weights / "segment.safetensors", source=photos, out=tmp_path / "o")
    for row in lines(tmp_path / "o" / "predictions.jsonl"):
        mask = Image.open(tmp_path / "o" / row["predictions"][0]["mask"])
        assert mask.size == (row["width"], row["height"])
        counts = np.bincount(np.asarray(mask).ravel(), minlength=2)
        assert row["predictions"][0]["area"] == {n: c for n, c in zip(("a", "b"), counts.tolist(), strict=False) if c}


@pytest.mark.parametrize("task", CASES)
def test_batch_size_changes_nothing(task, weights, photos, tmp_path):
    texts = []
    for size in (1, 4):
        out = tmp_path / f"o{size}"
        vt.predict(
            task, weights=weights / f"{task}.safetensors", source=photos, out=out, batch_size=size, formats=["jsonl"]
        )
        texts.append(lines(out / "predictions.jsonl"))
    for one, four in zip(*texts, strict=True):
        assert one["image"] == four["image"]
        assert [r.get("label") for r in one["predictions"]] == [r.get("label") for r in four["predictions"]]
        for a, b in zip(one["predictions"], four["predictions"], strict=True):
            assert a.get("score") == pytest.approx(b.get("score"), abs=1e-4)


def test_sources_can_be_files_folders_and_globs(weights, photos, tmp_path):
    def images(*sources):
        vt.predict("classify", weights=weights / "classify.safetensors", source=list(sources), out=tmp_path / "o",
                   restart=True)  # fmt: skip
        return [row["image"] for row in lines(tmp_path / "o" / "predictions.jsonl")]

    assert images(photos / "a.jpg") == ["a.jpg"]
    assert images(str(photos / "*.png")) == ["b.png"]
    both = images(photos / "a.jpg", photos / "sub" / "a.jpg")
    assert len(set(both)) == 2, "two images of one name must not collide"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "nowhere"}, "nowhere does not exist"),
        ({"formats": ["jsnl"]}, "did you mean jsonl"),
        ({"formats": "jsonl,yolo"}, "unknown format of classify 'yolo'; known: csv, drawings, jsonl, parquet$"),
        ({"formats": ["masks"]}, "known: csv, drawings, jsonl, parquet$"),
        ({"formats": ""}, "known: csv, drawings, jsonl, parquet$"),
        ({"weights": "nothing.safetensors"}, "nothing.safetensors"),
    ],
)
def test_bad_input(options, message, weights, photos, tmp_path):
    given = {"weights": weights / "classify.safetensors", "source": photos, "out": tmp_path / "o"} | options
    with pytest.raises(vt.UserError, match=message):
        vt.predict("classify", **given)


FILES = {
    "classify": ("drawings", "predictions.csv", "predictions.jsonl", "predictions.parquet"),
    "detect": ("classes.txt", "data.yaml", "drawings", "labels", "predictions.coco.json", "predictions.csv",
               "predictions.jsonl", "predictions.parquet", "results.json"),
    "segment": ("drawings", "masks", "predictions.jsonl", "predictions.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("task", CASES)
def test_every_format_of_a_task_writes_what_it_says(task, weights, photos, tmp_path, capsys):
    formats = get_task(task).formats
    given = {"weights": weights / f"{task}.safetensors", "source": photos}
    vt.predict(task, out=tmp_path / "all", formats=",".join(formats), **given)
    found = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert found == sorted([*FILES[task], "failures.jsonl", "progress.sqlite"])
    assert sorted(name.rstrip("/") for each in formats.values() for name in each.writes) == sorted(FILES[task])
    written = capsys.readouterr().err.split("wrote ")[1]
    assert all(name in written for name in FILES[task])
    # What `evaluate --predictions` reads is written unasked.
    vt.predict(task, out=tmp_path / "few", formats="drawings", **given)
    always = {"failures.jsonl", "predictions.jsonl", "progress.sqlite"} | ({"masks"} & set(FILES[task]))
    assert {path.name for path in (tmp_path / "few").iterdir()} == {"drawings", *always}


def test_the_csv_of_classes_is_scored_as_the_network_is(tmp_path):
    torch.manual_seed(0)
    save_model(vt.create_model("resnet18", ("a", "b")), tmp_path / "w.safetensors", InputSpec((32, 32), "letterbox"))
    factories.write_folder_per_class(tmp_path / "data")
    vt.predict(
        "classify", weights=tmp_path / "w.safetensors", source=tmp_path / "data", out=tmp_path / "o", formats="csv"
    )
    asked = {"data": tmp_path / "data", "split": "test"}
    stored = vt.evaluate("classify", predictions=tmp_path / "o" / "predictions.csv", **asked)
    own = vt.evaluate("classify", weights=tmp_path / "w.safetensors", **asked)
    for name in ("top1", "macro_f1", "ece"):
        assert stored[name] == pytest.approx(own[name], abs=1e-5)


def test_scores_that_are_no_numbers_end_nothing(weights, photos, tmp_path):
    model, _ = load_model(weights / "classify.safetensors")
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(float("nan"))
    save_model(model, tmp_path / "w.safetensors", InputSpec((32, 32), "letterbox"))
    out = tmp_path / "o"
    vt.predict("classify", weights=tmp_path / "w.safetensors", source=photos, out=out, formats="csv,drawings")
    assert [row["predictions"] for row in lines(out / "predictions.jsonl")] == [[], [], [], []]


def test_the_output_folder_is_not_a_source(weights, photos):
    for _ in range(2):
        summary = vt.predict("classify", weights=weights / "classify.safetensors", source=photos, out=photos / "out",
                             restart=True)  # fmt: skip
        assert summary.predicted == 4


def test_results_of_two_calls_are_never_mixed(weights, photos, tmp_path):
    given = {"weights": weights / "detect.safetensors", "out": tmp_path / "o", "conf": 0.0}
    vt.predict("detect", source=photos, formats="csv,coco,yolo", **given)
    (tmp_path / "o" / "images").mkdir()
    (tmp_path / "o" / "images" / "a.jpg").write_text("mine")
    (tmp_path / "o" / "notes.txt").write_text("mine, too")
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    with pytest.raises(vt.UserError, match=r"already holds predictions; give another --out, or --restart"):
        vt.predict("detect", source=photos / "b.png", formats="jsonl", **given)
    with pytest.raises(vt.UserError, match="nowhere does not exist"):
        vt.predict("detect", source="nowhere", restart=True, **given)
    assert before == {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    vt.predict("detect", source=photos / "b.png", formats="jsonl", restart=True, **given)
    left = {path.relative_to(tmp_path / "o").as_posix() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    assert left == {"predictions.jsonl", "failures.jsonl", "progress.sqlite", "images/a.jpg", "notes.txt"}
    assert [row["image"] for row in lines(tmp_path / "o" / "predictions.jsonl")] == ["b.png"]
    assert (tmp_path / "o" / "images" / "a.jpg").read_text() == "mine"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("task", "name"), [("detect", "labels/a.txt"), ("segment", "masks/a.png"),
                                            ("classify", "failures.jsonl")])  # fmt: skip
def test_a_users_own_files_are_not_taken_for_outputs(restart, task, name, weights, photos, tmp_path):
    (tmp_path / "o" / name).parent.mkdir(parents=True)
    (tmp_path / "o" / name).write_text("mine")
    with pytest.raises(vt.UserError, match="did not write and must not overwrite; give another --out"):
        vt.predict(task, weights=weights / f"{task}.safetensors", source=photos, out=tmp_path / "o", restart=restart)
    assert [path for path in (tmp_path / "o").rglob("*") if path.is_file()] == [tmp_path / "o" / name]
    assert (tmp_path / "o" / name).read_text() == "mine"


def test_a_linked_folder_is_unlinked_and_not_emptied(weights, photos, tmp_path):
    given = {"weights": weights / "classify.safetensors", "source": photos / "a.jpg", "out": tmp_path / "o"}
    vt.predict("classify", formats="jsonl", **given)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_text("mine")
    (tmp_path / "o" / "drawings").symlink_to(tmp_path / "mine")
    vt.predict("classify", formats="jsonl", restart=True, **given)
    assert not (tmp_path / "o" / "drawings").exists()
    assert (tmp_path / "mine" / "a.png").read_text() == "mine"


def test_a_folder_without_images(weights, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(vt.UserError, match="no images found"):
        vt.predict("classify", weights=weights / "classify.safetensors", source=tmp_path / "empty", out=tmp_path / "o")


def test_weights_of_another_task_are_refused(weights, photos, tmp_path):
    with pytest.raises(vt.UserError, match="is for detect, not for classify"):
        vt.predict("classify", weights=weights / "detect.safetensors", source=photos, out=tmp_path / "o")


def test_no_user_file_is_touched(weights, photos, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*") if path.is_file()}
    vt.predict("segment", weights=weights / "segment.safetensors", source=photos, out=tmp_path / "o")
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*") if path.is_file()
    }
