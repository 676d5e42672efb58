"""The folder of photos and the comparison of results, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.folder_inference import ROWS, title, unmeasured
from benchmarks.folder_results import average_precision, read_yolo, same_first_class, same_pixels
from benchmarks.harness import Comparison
from benchmarks.photo_folder import CLASSES, TRUTH, _moved, write_folder

VOC = """<annotation><object><name>WBC</name><bndbox>
<xmin>11</xmin><ymin>21</ymin><xmax>60</xmax><ymax>80</ymax></bndbox></object></annotation>"""


def write_sources(root: Path) -> None:
    """A photo of each kind; the first has a box."""
    for name in (
        "detect-bccd-voc/JPEGImages/a.jpg",
        "detect-chess-coco/train/b.jpg",
        "classify-clothing-small/train/c/d.jpg",
    ):
        (root / name).parent.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "detect-bccd-voc" / "Annotations").mkdir()
    (root / "detect-bccd-voc" / "Annotations" / "a.xml").write_text(VOC)


def test_a_folder_is_the_same_every_time_and_has_many_sizes(tmp_path: Path) -> None:
    write_sources(tmp_path)
    for name in ("one", "two"):
        write_folder(tmp_path, tmp_path / name, 7)
    files = sorted((tmp_path / "one" / "images").iterdir())
    assert [path.name for path in files] == [f"0000{number}.jpg" for number in range(7)]
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / "images" / path.name).read_bytes()
    sizes = [max(Image.open(path).size) for path in files]
    assert len(set(sizes)) > 4
    assert 299 <= min(sizes) <= max(sizes) <= 1500


def test_boxes_follow_the_part_that_is_taken() -> None:
    assert _moved((1, 10, 20, 60, 80), (0, 10, 40, 100), 2.0) == (1, 20, 20, 80, 140)  # 30 of 50 columns are seen
    assert _moved((1, 10, 20, 60, 80), (0, 10, 30, 100), 2.0) is None


def test_perfect_boxes_have_a_precision_of_1(tmp_path: Path) -> None:
    write_sources(tmp_path)
    write_folder(tmp_path, tmp_path, 4)
    truth = json.loads((tmp_path / TRUTH).read_text())
    names = {each["id"]: each["file_name"] for each in truth["images"]}
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in names.values()}
    for each in truth["annotations"]:
        x, y, width, height = each["bbox"]
        label = CLASSES[each["category_id"] - 1]
        rows[names[each["image_id"]]].append({"label": label, "score": 0.5, "box": [x, y, x + width, y + height]})
    assert average_precision(tmp_path, rows) == pytest.approx(1)
    assert average_precision(tmp_path, {name: [] for name in rows}) == 0


def test_text_files_of_ultralytics_are_boxes_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (200, 100)).save(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.1 0.4 0.75\n")
    rows = read_yolo(tmp_path / "labels", tmp_path / "images", ["x", "y"])
    assert rows["b.jpg"] == []
    (box,) = rows["a.jpg"]
    assert (box["label"], box["score"]) == ("y", 0.75)
    assert box["box"] == pytest.approx([90, 30, 110, 70])


def test_shares_of_what_is_the_same(tmp_path: Path) -> None:
    one = {"a": [{"label": "x"}], "b": [{"label": "x"}]}
    assert same_first_class(one, {"a": [{"label": "x"}], "b": [{"label": "y"}]}) == 0.5
    with pytest.raises(ValueError, match="1 images are in one"):
        same_first_class(one, {"a": [{"label": "x"}]})
    for name, value in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        mask = np.zeros((4, 5), np.uint8)
        mask[0, 0] = value
        Image.fromarray(mask).save(tmp_path / name / "a.png")
    assert same_pixels(tmp_path / "one", tmp_path / "two") == 0.95


def test_rows_that_are_missing_are_named() -> None:
    found = [Comparison(f"{title(row)}, 12 images, cpu", "images/s", 1, row.peer) for row in ROWS.values()]
    first = next(iter(ROWS.values()))
    assert unmeasured(found[1:], ["cpu", "cuda"])[0] == f"{title(first)}, cpu, beside {first.peer}"
    assert len(unmeasured(found, ["cpu", "cuda"])) == len(ROWS)
    assert all("no CUDA device" in each for each in unmeasured(found, ["cpu"]))
