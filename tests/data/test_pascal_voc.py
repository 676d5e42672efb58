from collections import Counter
from itertools import cycle
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
import pytest

from tests.factories import Object, write_annotation, write_voc
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.pascal_voc import READER
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Sample

SIZE = (60, 80)
ANNOTATION = Path("Annotations/train_000.xml")


def objects(dataset: Dataset[Boxes], sample: Sample[Boxes], size: tuple[int, int] = SIZE) -> list[Object]:
    truth = sample.truth(size)
    return [
        (dataset.classes[label], tuple(xyxy))
        for label, xyxy in zip(truth.label[0].tolist(), truth.xyxy[0].tolist(), strict=True)
    ]


def one(root: Path, sample_id: str = "JPEGImages/train_000.jpg") -> tuple[list[Object], list[str]]:
    """The objects of one image, and all flaws."""
    dataset = READER.read(root)
    sample = next(s for samples in dataset.splits.values() for s in samples if s.id == sample_id)
    return objects(dataset, sample), [flaw.what for flaw in dataset.flaws]


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "val", "test")])
def test_reads_what_was_written(tmp_path: Path, splits: tuple[str, ...]) -> None:
    written = write_voc(tmp_path, classes=("wasp", "ant"), splits=splits)
    assert READER.recognises(tmp_path)
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("ant", "wasp")
    assert {k: {s.id: objects(dataset, s) for s in v} for k, v in dataset.splits.items()} == written
    assert dataset.flaws == ()
    assert all(s.path == tmp_path / s.id and s.path.is_file() for v in dataset.splits.values() for s in v)
    assert not any(s.truth(SIZE).crowd.any() for v in dataset.splits.values() for s in v)


def test_a_box_surrounds_the_painted_pixels(tmp_path: Path) -> None:
    write_voc(tmp_path, classes=("disc", "rectangle"), images=3, splits=())
    dataset = READER.read(tmp_path)
    name, (x0, y0, x1, y1) = objects(dataset, dataset.splits["all"][2])[0]
    image = cv2.imread(str(dataset.splits["all"][2].path)).astype(int)
    coloured = (image.max(axis=2) - image.min(axis=2) > 120).nonzero()
    seen = [coloured[1].min(), coloured[0].min(), coloured[1].max() + 1, coloured[0].max() + 1]
    assert name in ("disc", "rectangle")
    np.testing.assert_allclose([x0, y0, x1, y1], seen, atol=2)  # JPEG blurs the border


def test_an_image_without_objects_has_an_empty_truth(tmp_path: Path) -> None:
    write_voc(tmp_path)
    found, _ = one(tmp_path, "JPEGImages/train_001.jpg")
    assert found == []


def test_trainval_is_a_split_only_without_train_and_val(tmp_path: Path) -> None:
    write_voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    assert list(READER.read(tmp_path).splits) == ["train", "val", "test"]
    for name in ("train", "val"):
        (lists / f"{name}.txt").unlink()
    assert list(READER.read(tmp_path).splits) == ["test", "trainval"]


def test_lists_of_one_class_are_no_splits(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "a_train.txt").write_text("train_000 -1\n")
    (tmp_path / "ImageSets" / "Main" / "a_trainval.txt").write_text("train_000 -1\n")
    assert list(READER.read(tmp_path).splits) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("edges", "left", "flaw"),
    [
        ((0, 0, 80, 60), (0, 0, 80, 60), None),
        ((-5, 10, 20, 30), (0, 10, 20, 30), "a box (-4, 11, 20, 30) reaches outside the image of 80x60: clipped"),
        ((70, 50, 81, 60), (70, 50, 80, 60), "a box (71, 51, 81, 60) reaches outside the image of 80x60: clipped"),
        ((80, 10, 90, 20), None, "a box (81, 11, 90, 20) lies outside the image of 80x60: dropped"),
        ((9, 10, 10, 20), None, "a box (10, 11, 10, 20) has no area: dropped"),
        ((30, 10, 20, 20), None, "a box (31, 11, 20, 20) has no area: dropped"),
    ],
)
def test_boxes_at_and_beyond_the_border(
    tmp_path: Path, edges: tuple[int, ...], left: tuple[int, ...] | None, flaw: str | None
) -> None:
    write_voc(tmp_path)
    write_annotation(tmp_path / ANNOTATION, (60, 80), [("b", (1, 2, 3, 4)), ("a", edges)])
    found, flaws = one(tmp_path)
    assert found == [("b", (1, 2, 3, 4))] + ([("a", left)] if left else [])
    assert flaws == ([flaw] if flaw else [])


def test_the_image_tells_its_size_where_the_annotation_does_not(tmp_path: Path) -> None:
    write_voc(tmp_path)
    write_annotation(tmp_path / ANNOTATION, (0, 0), [("a", (70, 50, 90, 70))])
    assert one(tmp_path)[0] == [("a", (70, 50, 80, 60))]


def test_an_annotation_for_another_size_than_its_image_is_no_truth(tmp_path: Path) -> None:
    write_voc(tmp_path)
    dataset = READER.read(tmp_path)
    with pytest.raises(DecodeError, match=r"train_000\.xml\) is for 80x60, the image is 60x80"):
        objects(dataset, dataset.splits["train"][0], (80, 60))


def test_accents_taken_apart_are_the_same_class(tmp_path: Path) -> None:
    write_voc(tmp_path)
    paths = sorted((tmp_path / "Annotations").glob("*.xml"))
    for path, form in zip(paths, cycle(("NFC", "NFD")), strict=False):
        content = path.read_text(encoding="utf-8").replace("<name>a<", f"<name>{normalize(form, 'pâté')}<")
        path.write_text(content, encoding="utf-8")
    assert READER.read(tmp_path).classes == ("b", normalize("NFC", "pâté"))


def test_difficult_objects_stay_and_are_counted(tmp_path: Path) -> None:
    write_voc(tmp_path)
    path = tmp_path / ANNOTATION
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    found, flaws = one(tmp_path)
    assert len(found) == 2
    assert flaws == ["2 objects are marked difficult: kept as ordinary boxes"]


def test_odd_lists_are_told(tmp_path: Path) -> None:
    write_voc(tmp_path, images=2)
    lists = tmp_path / "ImageSets" / "Main"
    lists.joinpath("train.txt").write_text("train_000\n\ntrain_000\n")
    lists.joinpath("test.txt").write_text("test_000\ntest_001\ntrain_000\n")
    write_annotation(tmp_path / "Annotations" / "gone.xml", SIZE, [])
    dataset = READER.read(tmp_path)
    assert [len(samples) for samples in dataset.splits.values()] == [1, 2, 3]
    assert {(flaw.path.name, flaw.what) for flaw in dataset.flaws} == {
        ("train.txt", "1 names stand in it twice: taken once"),
        ("test.txt", "1 of its images are in train too (train_000)"),
        ("Main", "1 images stand in no list: not read (train_001.jpg)"),
        ("Annotations", "1 annotations belong to no image: not read (gone.xml)"),
    }


@pytest.mark.parametrize(("folder", "suffix"), [("JPEGImages", "jpg"), ("Annotations", "xml")])
@pytest.mark.parametrize("splits", [(), ("train", "val")])
def test_a_name_without_image_or_annotation_is_an_error(
    tmp_path: Path, folder: str, suffix: str, splits: tuple[str, ...]
) -> None:
    write_voc(tmp_path, splits=splits)
    name = f"{splits[0] if splits else 'all'}_002"
    (tmp_path / folder / f"{name}.{suffix}").unlink()
    with pytest.raises(UserError, match=f"{folder}.*{name}"):
        READER.read(tmp_path)


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation><filename>&y;</filename></annotation>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no element found"),
        (b"<annotation><object>", "no element found"),
        (b"\x00\xff\x13", ""),
        (BOMB.encode(), "DOCTYPE"),
        (('<?xml version="1.0" encoding="utf-16"?>' + BOMB).encode("utf-16"), "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "DOCTYPE"),
        (b"<annotation><object><name>a</name></object></annotation>", "no bndbox"),
        (b"<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>", "bndbox has no ymin"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    write_voc(tmp_path)
    (tmp_path / ANNOTATION).write_bytes(content)
    with pytest.raises(UserError, match=f"train_000.xml: can't be read as a VOC annotation: .*{reason}"):
        READER.read(tmp_path)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_box_with_an_endless_corner_is_dropped(tmp_path: Path, value: str) -> None:
    write_voc(tmp_path)
    write_annotation(tmp_path / ANNOTATION, SIZE, [("b", (1, 2, 3, 4)), ("a", (float(value), 10, 20, 30))])
    found, flaws = one(tmp_path)
    assert found == [("b", (1, 2, 3, 4))]
    assert flaws == [f"a box ({value}, 11, 20, 30) has a corner that is no finite number: dropped"]


def test_a_box_that_is_listed_twice_is_kept_once(tmp_path: Path) -> None:
    write_voc(tmp_path)
    a, b = ("a", (10, 10, 20, 30)), ("b", (10, 10, 20, 30))
    write_annotation(tmp_path / ANNOTATION, SIZE, [a, b, a])
    assert one(tmp_path) == ([a, b], ["a box (11, 11, 20, 30) is listed twice: kept once"])


@pytest.mark.parametrize("value", ["ten", ""])
def test_a_corner_that_is_no_number_is_an_error(tmp_path: Path, value: str) -> None:
    write_voc(tmp_path)
    path = tmp_path / ANNOTATION
    path.write_text(path.read_text().replace("<xmin>", f"<xmin>{value}</xmin><xmin>", 1))
    with pytest.raises(UserError, match=r"train_000\.xml"):
        READER.read(tmp_path)


def test_without_any_object_is_an_error(tmp_path: Path) -> None:
    write_voc(tmp_path, images=1, splits=("train",))
    write_annotation(tmp_path / ANNOTATION, (60, 80), [])
    with pytest.raises(UserError, match="no annotation holds an object"):
        READER.read(tmp_path)


@pytest.mark.shared
def test_shared_data_as_its_readme_says(shared_data: Path) -> None:
    dataset = READER.read(shared_data / "detect-bccd-voc")
    counts = {
        split: Counter(name for sample in samples for name, _ in objects(dataset, sample, (480, 640)))
        for split, samples in dataset.splits.items()
    }
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 205, "val": 87, "test": 72}
    written = {
        "train": {"RBC": 2382, "WBC": 214, "Platelets": 209},
        "val": {"RBC": 968, "WBC": 87, "Platelets": 83},
        "test": {"RBC": 805, "WBC": 71, "Platelets": 69},
    }
    dropped = {(flaw.path.stem, flaw.what) for flaw in dataset.flaws}
    assert dropped == {
        ("BloodImage_00338", "RBC box (504, 337, 504, 337) has no area: dropped"),
        ("BloodImage_00343", "RBC box (181, 329, 181, 329) has no area: dropped"),
    }
    for flaw in dataset.flaws:
        split = next(k for k, v in dataset.splits.items() if any(s.path.stem == flaw.path.stem for s in v))
        written[split]["RBC"] -= 1
    assert counts == written
