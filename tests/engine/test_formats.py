"""Every output format of boxes, through the engine: they agree, lose nothing, and are whole after Ctrl-C.

The network is a script of boxes, so that what must be written is known exactly.
"""

import contextlib
import csv
import io
import json
import os
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pyarrow import parquet
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers import yolo_labels
from vision_tasks.data.readers.stored_boxes import read_stored_boxes
from vision_tasks.engine.earlier_outputs import PARTIAL
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.predict import Settings, Summary, predict
from vision_tasks.engine.sources import find_images
from vision_tasks.engine.store import STORE, Outcome, Store, Version
from vision_tasks.errors import UserError
from vision_tasks.models.base import ModelInfo
from vision_tasks.tasks import DETECT, Report
from vision_tasks.tasks.base import Output
from vision_tasks.types import Boxes, InputSpec, Sample

SIZE = (60, 80)
ALL = ("drawings", "yolo", "csv", "parquet", "coco", "jsonl")
CLASSES = ("rook", "pawn")

# Of each image in the order of names: (box, class, score).
SCRIPT = [
    [((10, 20, 50, 40), 0, 0.4), ((0, 0, 20, 30), 1, 0.9)],
    [],
    [((5.25, 10.5, 30.75, 55.125), 1, 0.5), ((70, 50, 80, 60), 1, 0.25), ((1, 1, 2, 2), 0, 0.2)],
]
NAMES = ["a.jpg", "b.png", "sub/a.jpg"]


class Scripted:
    """A network that predicts what it was told, or raises it, or does it; its images have the size of its canvas."""

    def __init__(self, script, class_ids=(7, 3)):
        self.info = ModelInfo("scripted", "", CLASSES, 1, "", class_ids=class_ids)
        self.script = iter(script)

    def predict(self, images):
        return Boxes.stack([self.next() for _ in images])

    def next(self):
        rows = next(self.script)
        if callable(rows):
            rows = rows()
        if isinstance(rows, BaseException):
            raise rows
        xyxy, label, score = zip(*rows, strict=True) if rows else ((), (), ())
        return Boxes.single(torch.tensor(xyxy), torch.tensor(label), score=torch.tensor(score))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 90)).save(os.fsencode(path), "PNG" if path.suffix == ".png" else "JPEG")


def run(tmp_path, script=SCRIPT, names=NAMES, conf=0.25, most=300, class_ids=(7, 3), formats=ALL) -> Summary:
    """Predict images of these names into tmp_path/out, one by one."""
    for name in names:
        picture(tmp_path / "photos" / name)
    (tmp_path / "out").mkdir(exist_ok=True)
    model = Inference(Scripted(script, class_ids), torch.device("cpu"), "fp32")
    found, spec = find_images([tmp_path / "photos"]), InputSpec(SIZE, "letterbox")
    return predict(model, DETECT, found, spec, tmp_path / "out", Settings(formats, Report(conf, most), 1))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n") if line]


def from_jsonl(out):
    return [(row["image"], each["label"], each["score"], tuple(each["box"]))
            for row in lines(out / "predictions.jsonl") for each in row["predictions"]]  # fmt: skip


def from_csv(out):
    with (out / "predictions.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [(row["path"], row["label"], float(row["score"]), tuple(float(row[k]) for k in ("x1", "y1", "x2", "y2")))
                for row in csv.DictReader(file)]  # fmt: skip


def from_parquet(out):
    rows = parquet.read_table(out / "predictions.parquet").to_pylist()
    assert all((row["width"], row["height"], len(row["sha256"])) == (80, 60, 64) for row in rows)
    return [(row["path"], row["label"], row["score"], (row["x1"], row["y1"], row["x2"], row["y2"])) for row in rows]


def from_coco(out):
    return named(out, json.loads((out / "predictions.coco.json").read_text())["annotations"])


def from_results(out):
    return named(out, json.loads((out / "results.json").read_text()))


def named(out, rows):
    """COCO rows with names for numbers; results have those of the data set beside them."""
    data = json.loads((out / "predictions.coco.json").read_text())
    images = {each["id"]: each["file_name"] for each in data["images"]}
    names = {each["id"]: each["name"] for each in data["categories"]}
    return [(images[row["image_id"]], names[row["category_id"]], row["score"], corners(row["bbox"])) for row in rows]


def from_yolo(out):
    """YOLO rows in their order, with the scores of the lines: labels have none."""
    names, found, scores = yaml.safe_load((out / "data.yaml").read_text())["names"], [], iter(from_jsonl(out))
    for image in NAMES:
        for line in (out / "labels" / Path(image).with_suffix(".txt")).read_text().splitlines():
            label, cx, cy, w, h = map(float, line.split())
            box = (cx - w / 2) * 80, (cy - h / 2) * 60, (cx + w / 2) * 80, (cy + h / 2) * 60
            found.append((image, names[int(label)], next(scores)[2], box))
    return found


def corners(box):
    x, y, width, height = box
    return x, y, x + width, y + height


READERS = {
    "jsonl": from_jsonl,
    "csv": from_csv,
    "parquet": from_parquet,
    "coco": from_coco,
    "results": from_results,
    "yolo": from_yolo,
}


def expected(conf, most):
    return [
        (name, CLASSES[label], score, box)
        for name, rows in zip(NAMES, SCRIPT, strict=True)
        for box, label, score in sorted(rows, key=lambda row: -row[2])[:most]
        if score >= conf
    ]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("conf", "most"), [(0.25, 300), (0.0, 300), (0.5, 300), (0.0, 1), (0.95, 1)])
def test_all_formats_say_the_same(reader, conf, most, tmp_path):
    assert run(tmp_path, conf=conf, most=most, formats=ALL[1:]) == Summary(3, 0, 0)
    found, wanted = READERS[reader](tmp_path / "out"), expected(conf, most)
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for row, right in zip(found, wanted, strict=True):
        assert row[2] == pytest.approx(right[2], abs=1e-6)
        assert row[3] == pytest.approx(right[3], abs=1e-5)


def test_pycocotools_scores_the_results_as_perfect(tmp_path):
    """Sparse category ids, in the order of the classes: (rook, pawn) = (7, 3)."""
    run(tmp_path)
    truth = {
        "images": [{"id": i, "width": 80, "height": 60} for i in (1, 2, 3)],
        "categories": [{"id": 3, "name": "pawn"}, {"id": 7, "name": "rook"}],
        "annotations": [
            {"id": number, "image_id": image, "category_id": kind, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for number, (image, kind, box) in enumerate([
                (1, 7, [10, 20, 40, 20]), (1, 3, [0, 0, 20, 30]),
                (3, 3, [5.25, 10.5, 25.5, 44.625]), (3, 3, [70, 50, 10, 10]),
            ], 1)
        ],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        for file in (tmp_path / "truth.json", tmp_path / "out" / "predictions.coco.json"):
            coco = COCO(file)
            scores = COCOeval(coco, coco.loadRes(str(tmp_path / "out" / "results.json")), "bbox")
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
            assert scores.stats[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["predictions.jsonl", "predictions.csv", "predictions.coco.json", "results.json", "."])
def test_evaluate_reads_them_back(name, tmp_path):
    run(tmp_path, conf=0.0)
    samples = tuple(Sample(image, Path(image), None) for image in NAMES)
    # The data set numbers its classes otherwise than the network does.
    data = Dataset(tmp_path, "made up", ("pawn", "rook"), {"all": samples}, class_ids=(1, 2))
    stored = read_stored_boxes(tmp_path / "out" / name, data, samples)
    for boxes, rows in zip(stored.predictions, SCRIPT, strict=True):
        found = zip(boxes.xyxy[0].tolist(), boxes.label[0].tolist(), boxes.score[0].tolist(), strict=True)
        right = [(list(box), 1 - label, pytest.approx(score)) for box, label, score in rows]
        assert sorted(found) == sorted(right, key=lambda row: row[0])


def test_the_coco_data_set_is_complete(tmp_path):
    run(tmp_path)
    data = json.loads((tmp_path / "out" / "predictions.coco.json").read_text())
    assert data["images"] == [
        {"id": number, "file_name": name, "width": 80, "height": 60} for number, name in enumerate(NAMES, 1)
    ]
    assert data["categories"] == [{"id": 7, "name": "rook"}, {"id": 3, "name": "pawn"}]
    assert data["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 3, "bbox": [0.0, 0.0, 20.0, 30.0], "score": 0.9, "area": 600.0,
        "iscrowd": 0,
    }  # fmt: skip


def test_classes_without_ids_are_numbered_from_0(tmp_path):
    run(tmp_path, class_ids=())
    assert [each["category_id"] for each in json.loads((tmp_path / "out" / "results.json").read_text())] == [1, 0, 1, 1]


def test_yolo_has_a_file_for_every_image(tmp_path):
    run(tmp_path)
    assert (tmp_path / "out" / "labels" / "b.txt").read_bytes() == b""
    assert (tmp_path / "out" / "labels" / "a.txt").read_text() == (
        "1 0.1250000 0.2500000 0.2500000 0.5000000\n0 0.3750000 0.5000000 0.5000000 0.3333333\n"
    )
    assert (tmp_path / "out" / "classes.txt").read_text() == "rook\npawn\n"
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text()) == {
        "path": ".", "train": "images", "val": "images", "nc": 2, "names": {0: "rook", 1: "pawn"},
    }  # fmt: skip


@pytest.mark.parametrize("described", [True, False])
def test_with_its_images_the_yolo_output_is_a_data_set(described, tmp_path):
    """Labels to correct and train on: our own reader finds every box, of classes 0 to K-1."""
    run(tmp_path, formats=("yolo", "jsonl"))
    out = tmp_path / "out"
    (tmp_path / "photos").rename(out / "images")
    if not described:
        (out / "data.yaml").unlink()
    data = yolo_labels.READER.read(out)
    assert (data.classes, data.class_ids) == (CLASSES, (0, 1))
    # YOLO's tools want both splits; which images are for what is the user's to decide, and told.
    told = ["3 images of val are in train too (images/a.jpg, images/b.png, images/sub/a.jpg)"] if described else []
    assert [flaw.what for flaw in data.flaws] == told
    assert data.negatives == {"images/b.png"}
    samples = {sample.id: sample for samples in data.splits.values() for sample in samples}
    assert sorted(samples) == [f"images/{name}" for name in NAMES]
    for name in NAMES:
        boxes = samples[f"images/{name}"].truth(None)
        wanted = [row for row in expected(0.25, 300) if row[0] == name]
        assert [CLASSES[label] for label in boxes.label[0].tolist()] == [row[1] for row in wanted]
        np.testing.assert_allclose(
            boxes.xyxy[0].reshape(-1, 4), np.reshape([row[3] for row in wanted], (-1, 4)), atol=1e-4
        )


def test_drawings_show_what_is_reported(tmp_path):
    run(tmp_path, conf=0.5)
    blank = np.asarray(Image.open(tmp_path / "out" / "drawings" / "b.png.png"))
    assert (blank == blank[0, 0]).all()
    one = np.asarray(Image.open(tmp_path / "out" / "drawings" / "a.jpg.png")).astype(int)
    assert np.ptp(one[-100:], axis=(0, 1)).max() < 10, "below 0.5 nothing is drawn: there only the photo is left"
    assert np.ptp(one, axis=(0, 1)).max() > 100


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), ValueError("a mistake")])
def test_what_was_done_before_a_stop_is_whole(stop, tmp_path):
    with pytest.raises(type(stop)):
        run(tmp_path, [SCRIPT[0], SCRIPT[1], stop])
    out, wanted = tmp_path / "out", [row[:2] for row in expected(0.25, 300) if row[0] == "a.jpg"]
    for name in ("jsonl", "csv", "parquet", "coco", "results"):
        assert [row[:2] for row in READERS[name](out)] == wanted
    assert [row["image"] for row in lines(out / "predictions.jsonl")] == NAMES[:2]
    assert [each["file_name"] for each in json.loads((out / "predictions.coco.json").read_text())["images"]] == NAMES[
        :2
    ]
    assert sorted(path.name for path in (out / "labels").rglob("*.txt")) == ["a.txt", "b.txt"]
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_a_drawing_that_is_stopped_leaves_no_half(tmp_path, monkeypatch):
    whole = Image.Image.save

    drawn = []

    def stopped(self, path, *arguments, **options):
        whole(self, path, *arguments, **options)
        drawn.extend([path] if PARTIAL in os.fsdecode(path) else [])
        if len(drawn) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, SCRIPT)
    assert [path.name for path in (tmp_path / "out" / "drawings").iterdir()] == ["a.jpg.png"]
    assert [row["image"] for row in lines(tmp_path / "out" / "predictions.jsonl")] == ["a.jpg"]


def test_an_image_that_fails_is_in_no_format(tmp_path):
    def vanish():
        (tmp_path / "photos" / "b.png").unlink()
        return SCRIPT[0]

    assert run(tmp_path, [SCRIPT[0], vanish, SCRIPT[2]]) == Summary(2, 1, 0)
    out = tmp_path / "out"
    assert [row["image"] for row in lines(out / "failures.jsonl")] == ["b.png"]
    assert [row["image"] for row in lines(out / "predictions.jsonl")] == ["a.jpg", "sub/a.jpg"]
    assert {row[0] for name in ("csv", "coco", "results") for row in READERS[name](out)} == {"a.jpg", "sub/a.jpg"}
    assert not (out / "labels" / "b.txt").exists()
    assert not (out / "drawings" / "b.png.png").exists()


def test_an_image_beside_which_nothing_can_be_written_is_a_failure(tmp_path):
    (tmp_path / "out" / "drawings").mkdir(parents=True)
    (tmp_path / "out" / "drawings" / "sub").write_text("in the way")
    assert run(tmp_path) == Summary(2, 1, 0)
    assert [row["image"] for row in lines(tmp_path / "out" / "failures.jsonl")] == ["sub/a.jpg"]
    assert [row["image"] for row in lines(tmp_path / "out" / "predictions.jsonl")] == ["a.jpg", "b.png"]


def test_images_do_not_write_over_one_another(tmp_path):
    names = ["a", "a.jpg", "a.jpg.png", "a.png", "b.c.jpg", "b.jpg", "c.jpg", "sub/c.jpg", "sub/c.png"]
    script = [[((0, 0, 8 * (i + 1), 6), 0, 0.9)] for i in range(len(names))]
    assert run(tmp_path, script, names).predicted == len(names)
    files = {"a": "a", "a.jpg": "a.jpg", "a.jpg.png": "a.jpg.png", "a.png": "a.png", "b.c.jpg": "b.c", "b.jpg": "b",
             "c.jpg": "c", "sub/c.jpg": "sub/c.jpg", "sub/c.png": "sub/c.png"}  # fmt: skip
    for number, name in enumerate(names, 1):
        width = (tmp_path / "out" / "labels" / f"{files[name]}.txt").read_text().split()[3]
        assert float(width) == pytest.approx(number / 10)
        assert (tmp_path / "out" / "drawings" / f"{name}.png").exists()
    assert len(list((tmp_path / "out" / "labels").rglob("*.txt"))) == len(names)


def test_the_lines_are_utf_8_whatever_files_are_called(tmp_path):
    """A byte that is no text comes back as the name by which Python opens the file; other names stay readable."""
    names = [os.fsdecode(b"\xff.jpg"), "\u00e9.jpg"]
    assert run(tmp_path, SCRIPT[:2], names) == Summary(2, 0, 0)
    assert os.path.exists(os.fsencode(tmp_path / "photos") + b"/\xff.jpg")  # noqa: PTH110
    text = (tmp_path / "out" / "predictions.jsonl").read_bytes().decode("utf-8")
    assert "\u00e9.jpg" in text
    assert "\\udcff.jpg" in text
    samples = tuple(Sample(name, Path(name), None) for name in names)
    data = Dataset(tmp_path, "made up", CLASSES, {"all": samples})
    for name in ("predictions.jsonl", "predictions.csv", "results.json"):
        found = read_stored_boxes(tmp_path / "out" / name, data, samples).predictions
        by_order = [len(boxes.label[0]) for boxes in found]
        assert by_order == [0, 2], "sorted, the accent comes first"


def test_names_that_are_no_text_or_need_quotes(tmp_path):
    strange = [os.fsdecode(b"\xe9.png"), 'a "b", c.jpg', "line\nbreak.jpg"]
    order = sorted(strange)
    script = [[((0, 0, 8 * (i + 1), 6), 0, 0.9)] for i in range(3)]
    assert run(tmp_path, script, strange) == Summary(3, 0, 0)
    out = tmp_path / "out"
    for name in ("jsonl", "csv", "coco", "results"):
        assert [(row[0], row[3][2]) for row in READERS[name](out)] == [(order[i], 8 * (i + 1)) for i in range(3)]
    for name in strange:
        assert os.path.exists(os.fsencode(out / "drawings" / f"{name}.png"))  # noqa: PTH110
        assert os.path.exists(os.fsencode(out / "labels" / f"{Path(name).stem}.txt"))  # noqa: PTH110


@pytest.mark.parametrize("name", ["jsonl", "csv", "coco", "yolo"])
def test_memory_does_not_grow_with_the_images(name, tmp_path):
    """Ten times the images, 20 boxes each, add less than the boxes of 10 images would."""
    rows = [{"label": "rook", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}] * 20

    def peak(count):
        (tmp_path / str(count)).mkdir(exist_ok=True)
        with closing(Store(tmp_path / str(count) / STORE, {})) as store:
            for i in range(count):
                store.add([Outcome(f"{i}.jpg", Version(1, 1), "", SIZE, rows)])
            tracemalloc.start()
            DETECT.formats[name].write(store.rows(seen=True), Output(tmp_path, CLASSES, (), Report()))
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(10)
    assert peak(200) < peak(20) + 50_000


def test_a_path_that_is_no_text_is_escaped_in_parquet(tmp_path):
    run(tmp_path, SCRIPT[:1], [os.fsdecode(b"\xff.jpg")], formats=("parquet", "jsonl"))
    rows = parquet.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["path"] for row in rows] == ["\\udcff.jpg"] * 2


def test_parquet_of_no_predictions_has_its_columns(tmp_path):
    run(tmp_path, [[]], ["a.jpg"], formats=("parquet", "jsonl"))
    table = parquet.read_table(tmp_path / "out" / "predictions.parquet")
    assert table.num_rows == 0
    assert table.schema.names == ["path", "width", "height", "sha256", "label", "score", "x1", "y1", "x2", "y2"]


def test_without_its_package_parquet_is_refused_before_anything_is_done(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'vision-tasks\[parquet\]'"):
        DETECT.formats["parquet"].require()
