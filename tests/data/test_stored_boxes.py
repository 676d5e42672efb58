"""Each form by hand-written files; what is wrong in them by the line that a user reads."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import vision_tasks as vt
from tests import factories
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.stored_boxes import StoredBoxes, read_stored_boxes
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Sample


def nothing(_: object) -> Boxes:
    return Boxes.single(torch.empty(0, 4), torch.empty(0))


def sample(name: str) -> Sample[Boxes]:
    return Sample(name, Path("data") / name, nothing)


TEST = (sample("test/a.jpg"), sample("test/b.jpg"))
TRAIN = (sample("train/c.jpg"),)
DATA: Dataset[Boxes] = Dataset(
    Path("data"),
    "coco",
    ("ant", "bee"),
    {"test": TEST, "train": TRAIN},
    class_ids=(3, 90),
    image_ids={"test/a.jpg": 7, "test/b.jpg": 1000, "train/c.jpg": 8},
)
ROW = {"image_id": 7, "category_id": 90, "bbox": [1, 2, 30.5, 40], "score": 0.05}
FOUND = {"label": "bee", "score": 0.05, "box": [1, 2, 31.5, 42]}


def read(folder: Path, content: object, name: str = "p.json", data: Dataset[Boxes] = DATA) -> StoredBoxes:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_stored_boxes(path, data, data.splits["test"])


def lines(*rows: tuple[str, list]) -> str:
    return "".join(json.dumps({"image": image, "predictions": found}) + "\n" for image, found in rows)


def dataset(**changes: object) -> dict:
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 0, "name": "bee"}, {"id": 1, "name": "unused"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": [1, 2, 30.5, 40], "score": 0.05}],
    }
    return whole | changes


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ([ROW], "p.json"),
        (dataset(), "p.json"),
        (lines(("test/a.jpg", [FOUND]), ("test/b.jpg", [])), "p.jsonl"),
        ("\n" + lines(("a.jpg", [FOUND])) + "\n", "p.jsonl"),
        (lines(("/photos/test/a.jpg", [FOUND])), "p.jsonl"),
        ("path,label,score,x1,y1,x2,y2\ntest/a.jpg,bee,0.05,1,2,31.5,42\n", "p.csv"),
        ("y2;y1;x2;x1;Score;Label;Path;more\r\n42;2;31.5;1;0.05;bee;a.jpg;?\r\n", "p.CSV"),
    ],
    ids=["results", "data set", "lines", "end of a path", "more of a path", "CSV", "CSV of another tool"],
)
def test_every_form_gives_the_same_boxes(tmp_path: Path, content: object, name: str) -> None:
    first, second = read(tmp_path, content, name).predictions
    assert first.score is not None
    assert first.xyxy.tolist() == [[[1, 2, 31.5, 42]]]
    assert (first.label.tolist(), first.valid.tolist(), first.crowd.tolist()) == ([[1]], [[True]], [[False]])
    assert first.score.tolist() == [[0.05]]
    assert second.xyxy.shape == (1, 0, 4)
    assert second.score is not None


def test_without_ids_of_its_own_a_data_set_counts_its_classes_from_0(tmp_path: Path) -> None:
    plain = replace(DATA, class_ids=())
    found = read(tmp_path, [ROW | {"category_id": 1}], data=plain)
    assert found.predictions[0].label.tolist() == [[1]]


def test_where_splits_number_their_images_alike_the_scored_one_is_meant(tmp_path: Path) -> None:
    alike = replace(DATA, image_ids={"test/a.jpg": 8, "test/b.jpg": 9, "train/c.jpg": 8})
    found = read(tmp_path, [ROW | {"image_id": 8}], data=alike)
    assert [boxes.label.shape[1] for boxes in found.predictions] == [1, 0]
    assert found.remarks == ["p.json: no predictions for 1 of 2 images"]


def test_predictions_for_other_images_are_counted_and_said(tmp_path: Path) -> None:
    others = [ROW | {"image_id": 8}, ROW | {"image_id": 8}, ROW | {"image_id": 5}]
    found = read(tmp_path, [ROW, ROW | {"image_id": 1000}, *others])
    assert found.remarks == ["p.json: left out 3 predictions for 2 images that are not scored: 8, 5"]
    by_name = read(tmp_path, lines(("a.jpg", [FOUND]), ("b.jpg", [FOUND]), ("c.jpg", [FOUND])), "p.jsonl")
    assert by_name.remarks == ["p.jsonl: left out 1 predictions for 1 images that are not scored: c.jpg"]


def test_scores_that_were_cut_are_said(tmp_path: Path) -> None:
    rows = [ROW | {"score": 0.25}, ROW | {"image_id": 1000, "score": 0.9}]
    (said,) = read(tmp_path, rows).remarks
    assert "no score is below 0.25" in said
    assert read(tmp_path, [*rows, ROW]).remarks == []


def test_scores_may_be_logits(tmp_path: Path) -> None:
    scores = read(tmp_path, [ROW | {"score": -3.5}, ROW | {"score": 12}]).predictions[0].score
    assert scores is not None
    assert scores.tolist() == [[-3.5, 12]]


def test_a_file_without_predictions_says_that_nothing_was_found(tmp_path: Path) -> None:
    assert [boxes.label.shape[1] for boxes in read(tmp_path, []).predictions] == [0, 0]
    assert read(tmp_path, []).remarks == ["p.json: no predictions for 2 of 2 images"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("3", "holds no predictions"),
        ({"a": 1}, "lacks 'images'"),
        ([ROW, 5], "entry 2: is wrong"),
        ([{k: v for k, v in ROW.items() if k != "score"}], "entry 1: lacks 'score'"),
        ([ROW | {"image_id": [7]}], "entry 1: is wrong"),
        ([ROW, ROW | {"category_id": 2}], "entry 2: unknown category_id 2; there are 3, 90"),
        ([ROW | {"score": float("nan")}], "entry 1: .* is not finite"),
        ([ROW | {"score": None}], "entry 1: .* is not four numbers and one"),
        ([ROW | {"bbox": [1, 2, 3]}], "entry 1: box .* is not four numbers and one"),
        ([ROW | {"bbox": [1, 2, "x", 4]}], "entry 1: box .* is not four numbers and one"),
        ([ROW | {"bbox": [1, 2, float("inf"), 4]}], "entry 1: .* is not finite"),
        ([ROW | {"bbox": [10, 2, -3, 4]}], "entry 1: .* ends before it begins; a box is x, y, width, height"),
        ([ROW | {"image_id": 8}], "none of its 1 predictions is for the 2 images that are scored; they are for 8"),
        (dataset(categories=[{"id": 0, "name": "beee"}]), "category 0: unknown class 'beee'; did you mean bee"),
        (dataset(images=[]), "annotation 1: its image_id 1 is none of the file's images"),
        (dataset(annotations=[{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}]), "lacks 'score'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}\n", "line 1: not of the form"),
        (lines(("a.jpg", [FOUND])) + "[1]\n", "line 2: not of the form"),
        (lines(("a.jpg", [FOUND | {"label": "bees"}])), "line 1: unknown label 'bees'; did you mean bee"),
        (lines(("a.jpg", [FOUND]), ("test/a.jpg", [])), "line 2: test/a.jpg stands in .*line 1 already"),
        (
            lines(("a.jpg", [FOUND | {"box": [5, 5, 4, 9]}])),
            "line 1: .* ends before it begins; a box is x1, y1, x2, y2",
        ),
        (lines(("a.jpg", [FOUND | {"box": [5, 5, 4]}])), "line 1: box .* is not four numbers"),
    ],
)
def test_what_is_wrong_in_lines_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, content, "p.jsonl")


HEADER = "path,label,score,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label,score\na.jpg,bee,1\n", "has no column x1, y1, x2, y2; needed are path, label, score, x1"),
        (HEADER + "a.jpg,bee,0.5,1,2,3,4\na.jpg,wasp,0.5,1,2,3,4\n", "line 3: unknown label 'wasp'"),
        (HEADER + "a.jpg,bee,0.5,1,2,x,4\n", "line 2: box .* is not four numbers and one"),
        (HEADER + "a.jpg,bee,nan,1,2,3,4\n", "line 2: .* is not finite"),
        (HEADER + "a.jpg,bee,0.5,9,2,3,4\n", "line 2: .* ends before it begins; a box is x1, y1, x2, y2"),
        (HEADER + "a.jpg,bee,0.5,1,2,3\n", "line 2: has 6 cells, but the header has 7 columns"),
        (HEADER + "c.jpg,bee,0.5,1,2,3,4\n", "none of its 1 predictions is for the 2 images that are scored"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, content, "p.csv")


def test_a_table_without_rows_says_that_nothing_was_found(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER, "p.csv").remarks == ["p.csv: no predictions for 2 of 2 images"]


def test_a_folder_stands_for_the_lines_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder without predictions\.jsonl; give one that predict wrote"):
        read_stored_boxes(tmp_path, DATA, TEST)
    (tmp_path / "predictions.jsonl").write_text(lines(("a.jpg", [FOUND])))
    assert [boxes.label.shape[1] for boxes in read_stored_boxes(tmp_path, DATA, TEST).predictions] == [1, 0]


def test_a_name_that_several_images_may_have_is_an_error(tmp_path: Path) -> None:
    both = replace(DATA, splits={"test": (sample("x/a.jpg"), sample("y/a.jpg"))})
    with pytest.raises(UserError, match=r"a.jpg may be x/a.jpg or y/a.jpg; write more of its path"):
        read(tmp_path, lines(("a.jpg", [FOUND])), "p.jsonl", both)
    assert read(tmp_path, lines(("y/a.jpg", [FOUND])), "p.jsonl", both).predictions[1].label.tolist() == [[1]]


def test_of_several_images_of_a_name_the_one_that_is_scored_is_meant(tmp_path: Path) -> None:
    each = {split: (sample(f"{split}/000.jpg"),) for split in ("train", "val", "test")}
    (found,) = read(tmp_path, lines(("000.jpg", [FOUND])), "p.jsonl", replace(DATA, splits=each)).predictions
    assert found.label.tolist() == [[1]]


def named_beside(folder: Path, images: list[dict], categories: list[dict]) -> None:
    (folder / "predictions.coco.json").write_text(
        json.dumps({"images": images, "categories": categories, "annotations": []})
    )


def test_results_beside_a_data_set_that_lists_their_ids_are_named_by_it(tmp_path: Path) -> None:
    """Image 7 is test/a.jpg in the data and b.jpg there, class 90 is bee in the data and ant there."""
    named_beside(tmp_path, [{"id": 7, "file_name": "b.jpg"}], [{"id": 90, "name": "ant"}])
    found = read(tmp_path, [ROW])
    assert [boxes.label.tolist() for boxes in found.predictions] == [[[]], [[0]]]
    said = "p.json: its ids are taken to be those of predictions.coco.json beside it, which lists them all"
    assert found.remarks[0] == said


@pytest.mark.parametrize(("image", "category"), [(8, 90), (7, 3)])
def test_results_beside_another_data_set_keep_the_ids_of_the_data(tmp_path: Path, image: int, category: int) -> None:
    named_beside(tmp_path, [{"id": image, "file_name": "b.jpg"}], [{"id": category, "name": "ant"}])
    assert [boxes.label.tolist() for boxes in read(tmp_path, [ROW]).predictions] == [[[1]], [[]]]


def test_results_beside_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "predictions.coco.json").write_text("[]")
    with pytest.raises(UserError, match=r"predictions.coco.json: can't be read as a data set .*; move p.json away"):
        read(tmp_path, [ROW])


def test_numbers_say_nothing_where_the_data_has_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names its images by number"):
        read(tmp_path, [ROW], data=replace(DATA, image_ids={}))


def results(path: Path) -> list[dict]:
    """What a perfect detector would have written for the truth in `path`."""
    truth = json.loads(path.read_text())["annotations"]
    return [{name: row[name] for name in ("image_id", "category_id", "bbox")} | {"score": 0.9} for row in truth]


def test_a_bare_json_without_images_is_enough_to_score_results(tmp_path: Path) -> None:
    factories.write_coco(tmp_path / "data", {7: "ant", 30: "bee"})
    path = next((tmp_path / "data" / "test").glob("*.json"))
    truth = path.rename(tmp_path / "instances_test.json")
    found = results(truth)
    (tmp_path / "results.json").write_text(json.dumps(found))
    scores = vt.evaluate("detect", predictions=tmp_path / "results.json", data=truth, out=tmp_path / "out")
    assert (scores["map"], scores["mar_100"], scores["images"]) == (pytest.approx(1), pytest.approx(1), 6)
    assert scores["label_errors"] == []
    for row in found:
        row["category_id"] = {7: 30, 30: 7}[row["category_id"]]
    (tmp_path / "results.json").write_text(json.dumps(found))
    scores = vt.evaluate("detect", predictions=tmp_path / "results.json", data=truth, out=tmp_path / "out")
    assert scores["map"] == 0
    assert {row["what"] for row in scores["label_errors"]} == {"wrong class"}
    written = {
        "metrics.json",
        "confusion.csv",
        "confusion.png",
        "precision_recall.png",
        "label_errors.csv",
        "flaws.txt",
        "report.html",
    }
    assert {file.name for file in (tmp_path / "out").iterdir()} == written
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["errors"]["classification"]["count"] == len(found)


def decimals(luck: np.random.Generator, whole: bool) -> list[float]:
    """x, y, width, height within 640 x 480, with a decimal or without."""
    numbers = [int(n) for n in luck.integers((0, 0, 50, 50), (3000, 2000, 2500, 2500))]
    return [n // 10 if whole else n / 10 for n in numbers]


def hard_files(folder: Path, seed: int, whole: bool) -> tuple[Path, Path]:
    """Truth and results of 12 images, ids unsorted: ties, crowds, outline areas, overlaps on the thresholds."""
    luck = np.random.default_rng(seed)
    numbers = [int(number) for number in luck.permutation(1000)[:12]]
    truth: list[dict] = []
    found: list[dict] = []
    for number in numbers:
        for _ in range(luck.integers(0, 6)):
            box, category = decimals(luck, whole), int(luck.choice([3, 8]))
            area, crowd = box[2] * box[3] * luck.choice([0.02, 0.3, 1]), int(luck.random() < 0.2)
            truth.append(factories.coco_box(len(truth) + 1, number, category, box, area=area, iscrowd=crowd))
            for share in luck.choice(np.linspace(0.5, 1, 11), luck.integers(0, 3)):
                near = [*box[:3], round(box[3] * share, 4)]
                found.append({"image_id": number, "category_id": category, "bbox": near})
        found += [{"image_id": number, "category_id": 8, "bbox": decimals(luck, whole)} for _ in range(2)]
    for row in found:
        row["score"] = int(luck.integers(1, 6)) / 7
    found = [found[i] for i in luck.permutation(len(found))]
    images = [factories.coco_image(number, f"{number}.jpg", (480, 640)) for number in numbers]
    factories.write_coco_file(folder / "truth.json", {8: "ant", 3: "bee"}, images, truth)
    (folder / "results.json").write_text(json.dumps(found))
    return folder / "truth.json", folder / "results.json"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "decimal"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_of_files_are_those_of_pycocotools(tmp_path: Path, seed: int, whole: bool) -> None:
    truth, found = hard_files(tmp_path, seed, whole)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        oracle = COCOeval(coco, coco.loadRes(str(found)), "bbox")
        oracle.evaluate()
        oracle.accumulate()
        oracle.summarize()
    scores = vt.evaluate("detect", predictions=found, data=truth)
    keys = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]
    expected = np.where(oracle.stats[:9] == -1, np.nan, oracle.stats[:9])
    assert 0.02 < expected[0] < 0.98
    np.testing.assert_allclose([scores[key] for key in keys], expected, rtol=0, atol=1e-9)


@pytest.mark.shared
def test_truth_as_predictions_of_a_real_set_scores_1(tmp_path: Path, shared_data: Path) -> None:
    root = shared_data / "detect-chess-coco"
    path = next(path for path in sorted(root.rglob("*.json")) if "test" in str(path))
    (tmp_path / "results.json").write_text(json.dumps(results(path)))
    scores = vt.evaluate("detect", predictions=tmp_path / "results.json", data=root, split="test")
    assert scores["map"] == pytest.approx(1, abs=1e-9)
