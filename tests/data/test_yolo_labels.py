import re
from pathlib import Path

import numpy as np
import pytest

from tests.factories import YOLO_LAYOUTS, Object, save, texture, write_labels, write_yolo
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.yolo_labels import READER
from vision_tasks.errors import UserError
from vision_tasks.tasks.detect import DETECT
from vision_tasks.types import Boxes

SIZE = (60, 80)
LABELS = Path("labels/train/train_000.txt")

Contents = dict[str, dict[str, list[Object]]]


def contents(dataset: Dataset[Boxes], size: tuple[int, int] | None = SIZE) -> Contents:
    found: Contents = {}
    for split, samples in dataset.splits.items():
        for sample in samples:
            truth = sample.truth(size)
            rows = zip(truth.label[0].tolist(), truth.xyxy[0].tolist(), strict=True)
            # Six digits of a share are less than a thousandth of a pixel here.
            each = [(dataset.classes[label], tuple(round(edge, 3) for edge in xyxy)) for label, xyxy in rows]
            found.setdefault(split, {})[sample.id] = each
    return found


def rewritten(root: Path, rows: str) -> Dataset[Boxes]:
    """Data of one split whose first image has these labels."""
    write_yolo(root, splits=("train",), images=2)
    (root / LABELS).write_text(rows)
    return READER.read(root)


def first(dataset: Dataset[Boxes]) -> list[Object]:
    return contents(dataset)["train"]["images/train/train_000.jpg"]


def flaws(dataset: Dataset[Boxes]) -> list[str]:
    return [flaw.what for flaw in dataset.flaws]


def described(root: Path, text: str) -> Dataset[Boxes]:
    """The data of two splits under another data.yaml."""
    write_yolo(root, splits=("train", "val"), images=3)
    (root / "data.yaml").write_text(text)
    return READER.read(root)


@pytest.mark.parametrize("layout", YOLO_LAYOUTS)
@pytest.mark.parametrize("told", [True, False], ids=["data.yaml", "classes.txt"])
@pytest.mark.parametrize("splits", [("train",), ("test", "train", "val")])
def test_reads_what_was_written(tmp_path: Path, layout: str, told: bool, splits: tuple[str, ...]) -> None:
    written = write_yolo(tmp_path, ("wasp", "ant"), splits=splits, layout=layout, described=told)
    dataset = open_dataset(tmp_path, DETECT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("yolo", ("wasp", "ant"), ())
    assert list(dataset.splits) == [split for split in ("train", "val", "test") if split in splits]
    assert contents(dataset) == written
    assert all(s.path == tmp_path / s.id and s.path.is_file() for v in dataset.splits.values() for s in v)
    empty = {id for samples in written.values() for id, found in samples.items() if not found}
    assert dataset.negatives == empty
    assert len(empty) == 2 * len(splits)


def test_without_splits(tmp_path: Path) -> None:
    written = write_yolo(tmp_path, splits=(), described=False)
    assert contents(READER.read(tmp_path)) == written
    (tmp_path / "classes.txt").rename(tmp_path / "labels" / "classes.txt")
    dataset = READER.read(tmp_path)
    assert (contents(dataset), dataset.flaws) == (written, ())


def test_no_image_is_opened_before_its_truth_is_asked_for(tmp_path: Path) -> None:
    written = write_yolo(tmp_path, splits=("train",))
    dataset = READER.read(tmp_path)
    assert contents(dataset, None) == written  # by the headers of the files
    for path in tmp_path.rglob("*.jpg"):
        path.write_bytes(b"no image")
    assert READER.read(tmp_path).classes == dataset.classes
    with pytest.raises(UserError, match=r"train_000\.jpg: can't be opened"):
        contents(READER.read(tmp_path), None)


@pytest.mark.parametrize(
    ("names", "classes", "ids"),
    [
        ("[a, b]", ("a", "b"), (0, 1)),
        ("\n- a\n- b", ("a", "b"), (0, 1)),
        ("\n  0: a\n  1: b", ("a", "b"), (0, 1)),
        ("{1: b, 0: a, 7: c}", ("a", "b", "c"), (0, 1, 7)),
        ("[no, 1]", ("no", "1"), (0, 1)),  # which YAML would make False and a number
        ("[a, b]\nnc: 2", ("a", "b"), (0, 1)),
        ("\nnc: 2", ("class0", "class1"), (0, 1)),
    ],
)
def test_names(tmp_path: Path, names: str, classes: tuple[str, ...], ids: tuple[int, ...]) -> None:
    dataset = described(tmp_path, f"train: images/train\nval: images/val\nnames: {names}\n")
    assert (dataset.classes, dataset.class_ids) == (classes, ids)


@pytest.mark.parametrize(
    ("text", "splits"),
    [
        ("train: images/train\nval: images/val", ["train", "val"]),
        ("train: ./images/train/\nvalid: images/val", ["train", "val"]),
        ("path: images\nvalidation: val\ntest: train", ["val", "test"]),
        ("path: .\ntrain: [images/train, images/val]\ntest:", ["train"]),
        ("train: images", ["train"]),
        ("train: lists/train.txt\nval: images/val", ["train", "val"]),
    ],
)
def test_entries_of_splits(tmp_path: Path, text: str, splits: list[str]) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("./../images/train/train_001.jpg\nimages/train/train_002.jpg\n")
    dataset = described(tmp_path, f"{text}\nnames: [a, b]\n")
    assert list(dataset.splits) == splits
    sizes = {"images": 6, "lists/train.txt": 2, "images/train, images/val": 6}
    entry = re.search(r"train: \[?([^\]\n]*)", text)
    assert len(next(iter(dataset.splits.values()))) == sizes.get(entry[1] if entry else "", 3)
    assert dataset.flaws == ()


def test_the_yaml_itself_may_be_given_and_have_any_name(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "cells.yaml")
    by_file, by_folder = open_dataset(tmp_path / "cells.yaml", DETECT.readers), open_dataset(tmp_path, DETECT.readers)
    assert contents(by_file) == contents(by_folder)
    assert by_file.root == by_folder.root == tmp_path


def test_a_list_names_a_missing_image(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("images/train/train_001.jpg\nimages/train/gone.jpg\n")
    dataset = described(tmp_path, "train: train.txt\nval: images/val\nnames: [a, b]\n")
    assert flaws(dataset) == ["images/train/gone.jpg is listed but missing: left out"]
    assert dataset.flaws[0].path == tmp_path / "train.txt"
    assert list(contents(dataset)["train"]) == ["images/train/train_001.jpg"]


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("train: ../other/images", "train: ../other/images points outside"),
        ("train: /etc\nval: images/val", "train: /etc points outside"),
        ("train: images/train\nval: [images/val, ../more]", "val: ../more points outside"),
        ("path: ..\ntrain: images/train", r"path: \.\. points outside"),
        ("path: /data/cells\ntrain: images/train", "path: /data/cells points outside"),
        ("train: images/../../x", "train: images/../../x points outside"),
    ],
)
def test_what_points_outside_is_an_error_that_names_the_entry(tmp_path: Path, text: str, entry: str) -> None:
    with pytest.raises(UserError, match=rf"data\.yaml: {entry}"):
        described(tmp_path / "cells", f"{text}\nnames: [a, b]\n")


def test_a_list_that_points_outside_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("/etc/passwd.jpg\n")
    with pytest.raises(UserError, match=r"train\.txt: /etc/passwd\.jpg points outside"):
        described(tmp_path, "train: train.txt\nnames: [a, b]\n")


def test_two_dots_of_an_exporter_that_means_the_folder_itself_are_told(tmp_path: Path) -> None:
    dataset = described(tmp_path, "train: ../images/train\nval: images/val\nnames: [a, b]\n")
    assert flaws(dataset) == ["train: ../images/train leads out of the folder: images/train is read"]
    assert len(dataset.splits["train"]) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("names: [a, b", "can't be read as YAML"),
        ("- a\n- b", "is no description of a data set"),
        ("names: [a, b]", "names no images; it needs train, val or test"),
        ("train: images/train", "has no names"),
        ("train: images/train\nnames: [a, '']", "has no names"),
        ("train: images/train\nnames: [a, [b]]", "'names' needs a number and a name"),
        ("train: images/train\nnames: {x: a}", "'names' needs a number and a name"),
        ("train: images/train\nnames: [a, b]\nnc: 3", "nc is 3, but names has 2"),
        ("train: images/train\nnames: [a, a]", "the classes 0 and 1 are both called 'a'"),
        ("train: images/train\nval: images/val\nvalid: images/val\nnames: [a, b]", "val and valid are the same split"),
        ("train: images/gone\nnames: [a, b]", "train: images/gone is neither a folder nor"),
        ("train: labels/train\nnames: [a, b]", "train: labels/train has no images"),
        ("train: images/train\nkpt_shape: [17, 2]\nnames: [a, b]", "kpt_shape: labels with keypoints aren't read"),
        ("train: {a: b}\nnames: [a, b]", "train: is no path"),
        ("train: !!python/object/apply:os.getcwd []\nnames: [a, b]", "train"),
    ],
)
def test_a_data_yaml_that_is_not_understood(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"data\.yaml: .*{reason}") as error:
        described(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "left", "flaw"),
    [
        ("0 0.5 0.5 0.5 0.5", (20, 15, 60, 45), None),
        ("0.0 0.5 0.5 0.5 0.5", (20, 15, 60, 45), None),
        ("0 0.95 0.5 0.2 0.5", (68, 15, 80, 45), "line 2: a box reaches outside the image: clipped"),
        ("0 0.05 0.5 0.2 0.5", (0, 15, 12, 45), "line 2: a box reaches outside the image: clipped"),
        ("0 1.5 0.5 0.2 0.5", None, "line 2: a box lies outside the image: dropped"),
        ("0 -1.5 0.5 0.2 0.5", None, "line 2: a box lies outside the image: dropped"),
        ("0 0.5 0.5 0 0.5", None, "line 2: a box has no area: dropped"),
        ("0 0.5 0.5 0.5 -0.5", None, "line 2: a box has no area: dropped"),
        ("0 nan 0.5 0.5 0.5", None, "line 2: a box has a corner that is no finite number: dropped"),
        ("0 0.5 0.5 inf 0.5", None, "line 2: a box has a corner that is no finite number: dropped"),
        ("1 0.25 0.5 0.5 0.2", None, "line 2: b box is listed twice: kept once"),
        ("0 0.25 0.5 0.75 0.25 0.5 0.75", (20, 15, 60, 45), "1 rows are polygons: read as their bounding boxes"),
        ("0 0.25 0.5 nan 0.25 0.5 0.75", None, "line 2: a box has a corner that is no finite number: dropped"),
    ],
)
def test_rows(tmp_path: Path, row: str, left: tuple[int, ...] | None, flaw: str | None) -> None:
    dataset = rewritten(tmp_path, f"1 0.25 0.5 0.5 0.2\r\n{row}\n\n")
    assert first(dataset) == [("b", (0, 24, 40, 36))] + ([("a", left)] if left else [])
    assert flaws(dataset)[-1:] == ([flaw] if flaw else [])
    if flaw and flaw.startswith("line"):
        assert dataset.flaws[-1].path == tmp_path / LABELS


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2 0.5 0.5 0.5 0.5", r"line 2: class 2 has no name: .*data\.yaml names 2, 0 to 1"),
        ("-1 0.5 0.5 0.5 0.5", "line 2: class -1 has no name"),
        ("0.5 0.5 0.5 0.5 0.5", "line 2: the class 0.5 is no whole number"),
        ("nan 0.5 0.5 0.5 0.5", "line 2: the class nan is no whole number"),
        ("a 0.5 0.5 0.5 0.5", "line 2: could not convert"),
        ("0 0.5 0.5 0.5", "line 2: 4 numbers; a row is"),
        ("0 0.5 0.5 0.5 0.5 0.9", "line 2: 6 numbers; a row is"),
        ("0", "line 2: 1 numbers; a row is"),
        ("0, 0.5, 0.5, 0.5, 0.5", "line 2: could not convert"),
    ],
)
def test_a_row_that_is_not_understood_names_file_and_line(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"train_000\.txt, {reason}"):
        rewritten(tmp_path, f"1 0.25 0.5 0.5 0.2\n{row}\n")


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    write_yolo(tmp_path, splits=("train",))
    (tmp_path / LABELS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"train_000\.txt: can't be read as labels"):
        READER.read(tmp_path)


def test_an_image_without_a_label_file_is_taken_to_show_nothing_and_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, images=3)
    (tmp_path / LABELS).unlink()
    dataset = READER.read(tmp_path)
    assert first(dataset) == []
    assert flaws(dataset) == [
        "1 of 3 images of train have no label file: taken to show nothing (images/train/train_000.jpg)"
    ]
    assert "images/train/train_000.jpg" in dataset.negatives
    for path in (tmp_path / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"no image of 'val' has a label file, such as labels/val/val_000\.txt"):
        READER.read(tmp_path)


def test_labels_of_no_image_are_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, splits=("train",))
    write_labels(tmp_path / "labels" / "train" / "gone.txt", SIZE, ("a",), [])
    dataset = READER.read(tmp_path)
    assert [(flaw.path, flaw.what) for flaw in dataset.flaws] == [
        (tmp_path / "labels" / "train", "1 label files belong to no image: not read (gone.txt)")
    ]


def test_labels_beside_images(tmp_path: Path) -> None:
    save(tmp_path / "train" / "1.jpg", texture(SIZE, np.random.default_rng(0)))
    write_labels(tmp_path / "train" / "1.txt", SIZE, ("a",), [("a", (8, 6, 40, 30))])
    (tmp_path / "train" / "notes.txt").write_text("seen on a Tuesday")
    (tmp_path / "data.yaml").write_text("train: train\nnames: [a]\n")
    dataset = READER.read(tmp_path)
    assert contents(dataset) == {"train": {"train/1.jpg": [("a", (8, 6, 40, 30))]}}
    assert dataset.flaws == ()


def test_two_images_with_the_same_labels_are_an_error(tmp_path: Path) -> None:
    write_yolo(tmp_path, splits=("train",))
    save(tmp_path / "images" / "train" / "train_000.png", texture(SIZE, np.random.default_rng(0)))
    with pytest.raises(UserError, match=r"train_000\.jpg and .*train_000\.png have the same labels"):
        READER.read(tmp_path)


def test_without_any_names_they_are_invented_and_told(tmp_path: Path) -> None:
    write_yolo(tmp_path, described=False)
    (tmp_path / "classes.txt").unlink()
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("class0", "class1")
    assert flaws(dataset) == ["neither data.yaml nor classes.txt names the classes: class0, class1"]


def test_a_year_after_the_splits_name_and_images_in_no_split(tmp_path: Path) -> None:
    write_yolo(tmp_path, splits=("train2017", "val2017"), images=3, described=False)
    save(tmp_path / "images" / "more.jpg", texture(SIZE, np.random.default_rng(0)))
    dataset = READER.read(tmp_path)
    assert list(dataset.splits) == ["train", "val"]
    assert flaws(dataset) == ["1 images are in no split: not read (images/more.jpg)"]


def test_one_folder_for_training_and_validation_is_told(tmp_path: Path) -> None:
    dataset = described(tmp_path, "train: images/train\nval: images/train\nnames: [a, b]\n")
    assert [flaw.split(" (")[0] for flaw in flaws(dataset)] == ["3 images of val are in train too"]
