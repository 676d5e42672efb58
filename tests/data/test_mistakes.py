"""Whoever has made many mistakes in label files reads of all of them at once, on one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories import coco_box, coco_image, write_coco, write_coco_file, write_table, write_voc, write_yolo
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.readers import coco_json, csv_labels, pascal_voc, yolo_labels
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError

READERS = [pascal_voc.READER, coco_json.READER, yolo_labels.READER, csv_labels.READER]


def told(messages: list[str]) -> str:
    """What is raised for them."""
    mistakes = Mistakes()
    for message in messages:
        mistakes.add(UserError(message))
    with pytest.raises(UserError) as raised:
        mistakes.check()
    return str(raised.value)


def test_none_is_no_error() -> None:
    Mistakes().check()


def test_one_is_told_as_it_is() -> None:
    assert told(["a.txt, line 3: it's wrong; mend it"]) == "a.txt, line 3: it's wrong; mend it"


def test_each_kind_comes_before_others_of_a_kind() -> None:
    messages = [
        "a.txt, line 1: class 7 has no name; add it",
        "a.txt, line 2: class 8 has no name; add it",
        "b.txt, line 9: is 'red'",
    ]
    last = "a.txt, line 2: class 8 has no name"
    assert told(messages) == f"{messages[0]}; also {messages[2]}; also {last}"
    assert told([*messages, "c/d.txt, line 1: class 3 has no name; add it"]).endswith(f"{last}; and 1 more mistakes")


def test_what_was_told_together_is_counted_one_by_one() -> None:
    within, around = Mistakes(), Mistakes()
    for i in range(5):
        within.add(f"line {i}")
    around.add("first")
    with pytest.raises(UserError) as several:
        within.check()
    around.add(several.value)
    with pytest.raises(UserError, match=r"^first; also line 0; also line 1; and 3 more mistakes$"):
        around.check()


def test_of_a_million_not_all_are_kept() -> None:
    assert told([f"line {i}" for i in range(100_000)]) == "line 0; also line 1; also line 2; and 99997 more mistakes"


def wrong_ids_of_yolo(root: Path) -> None:
    write_yolo(root, images=20)
    for number, path in enumerate(sorted((root / "labels").rglob("*.txt"))[:40]):
        path.write_text(f"{7 + number} 0.5 0.5 0.1 0.1\n")


def many_kinds_of_yolo(root: Path) -> None:
    write_yolo(root, images=2)
    (root / "labels" / "train" / "train_000.txt").write_text("0 0.5 0.5 0.1\n5 0.5 0.5 0.1 0.1\n")
    (root / "labels" / "val" / "val_001.txt").write_bytes(b"\xff\xfe\x00")


def broken_files_of_voc(root: Path) -> None:
    write_voc(root, images=20)
    for path in sorted((root / "Annotations").iterdir())[:40]:
        path.write_text("<annotation>")


def unknown_sizes_of_voc(root: Path) -> None:
    write_voc(root, images=2, splits=("train",))
    for path in sorted((root / "Annotations").iterdir()):
        path.write_text(re.sub("<size>.*</size>", "", path.read_text()))
    for path in sorted((root / "JPEGImages").iterdir()):
        path.write_text("no image")


def unknown_categories_of_coco(root: Path) -> None:
    write_coco(root, splits=("train", "val"))
    for split in ("train", "val"):
        boxes = [coco_box(i, 1, 50 + i, (1, 1, 5, 5)) for i in range(20)]
        images = [coco_image(1, f"{split}_000.jpg", (60, 80))]
        write_coco_file(root / split / "_annotations.coco.json", {1: "a"}, images, boxes)


def entries_of_coco_that_are_not_understood(root: Path) -> None:
    boxes = [coco_box(i, 1, 1, (1, 1, 5, 5), iscrowd="no") for i in range(2)]
    write_coco_file(root / "annotations.json", {1: "a"}, [{"id": 1}, {"id": "2", "file_name": "2.jpg"}], boxes)


def rows_of_a_table(root: Path) -> None:
    for split in ("train", "test"):
        write_table(root / f"{split}.csv", {f"{i}.jpg": "ab"[i % 2] for i in range(20)})
        text = "".join(f"{i}.jpg,{i % 2},{'maybe' if i < 20 else 1}\n" for i in range(21))
        (root / f"{split}.csv").write_text("path,x,y\n" + text)


def forgotten_labels(root: Path) -> None:
    rows = [(f"{i}.jpg", "" if i < 40 else "ab"[i % 2]) for i in range(44)]
    write_table(root / "labels.csv", dict(rows))


def short_rows_of_a_table(root: Path) -> None:
    write_table(root / "labels.csv", {"a.jpg": "x", "b.jpg": "y"})
    (root / "labels.csv").write_text("path,label\n" + "a.jpg\n" * 40)


def contradictions_in_a_table(root: Path) -> None:
    write_table(root / "labels.csv", {"a.jpg": "x", "b.jpg": "y"})
    (root / "labels.csv").write_text("path,label\na.jpg,x\nb.jpg,y\nb.jpg,x\na.jpg,y\n/c.jpg,x\ngone.jpg,x\n")


@pytest.mark.parametrize(
    ("spoil", "first", "others"),
    [
        (wrong_ids_of_yolo, r"train_000\.txt, line 1: class 27 has no name", "; and 37 more mistakes"),
        (
            many_kinds_of_yolo,
            r"train_000\.txt, line 1: 4 numbers",
            r"val_001\.txt: can't be read.*line 2: class 5 has no",
        ),
        (broken_files_of_voc, r"train_000\.xml: can't be read as a VOC annotation", "; and 37 more mistakes"),
        (unknown_sizes_of_voc, r"train_000\.jpg: can't be opened", r"also .*train_001\.jpg: can't be opened"),
        (unknown_categories_of_coco, "annotation 0 is of the category 50", "; and 37 more mistakes"),
        (
            entries_of_coco_that_are_not_understood,
            "image 1 has no 'file_name'",
            "'id' of image is '2'.*; also .*'iscrowd' of annotation 0 is 'no'.*; and 1 more mistakes",
        ),
        (rows_of_a_table, r"test\.csv, line 2: has 'maybe' in the column 'y'", "; and 37 more mistakes"),
        (forgotten_labels, r"labels\.csv, line 2: has no label", "; and 37 more mistakes"),
        (short_rows_of_a_table, r"labels\.csv, line 2: has 1 cells", "; and 37 more mistakes"),
        (
            contradictions_in_a_table,
            r"labels\.csv, line 6: '/c\.jpg' is no path below",
            r"gone\.jpg.*line 4: b\.jpg has the labels x, but y .*; and 1 more mistakes",
        ),
    ],
)
def test_all_mistakes_of_a_set_are_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], first: str, others: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(UserError, match=f"{first}.*{others}") as raised:
        open_dataset(tmp_path, READERS)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value).replace(str(tmp_path), "")) < 500
