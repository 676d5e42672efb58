from collections import Counter
from pathlib import Path

import pytest

from tests.factories import write_folder_per_class, write_mask_pairs, write_voc
from vision_tasks.data.catalog import pick_split, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.folder_per_class import READER
from vision_tasks.errors import UserError
from vision_tasks.types import Labels


def contents(dataset: Dataset[Labels]) -> dict[str, dict[str, str]]:
    return {
        split: {sample.id: dataset.classes[int(sample.truth((40, 48)).weight.argmax())] for sample in samples}
        for split, samples in dataset.splits.items()
    }


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "val", "test"), ("train", "test")])
def test_reads_what_was_written(tmp_path: Path, splits: tuple[str, ...]) -> None:
    written = write_folder_per_class(tmp_path, classes=("ant", "bee", "Cat"), per_class=3, splits=splits)
    assert READER.recognises(tmp_path)
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("Cat", "ant", "bee")
    assert contents(dataset) == written
    assert dataset.flaws == ()
    for samples in dataset.splits.values():
        for sample in samples:
            assert sample.path == tmp_path / sample.id
            assert sample.path.is_file()
            assert sample.stratum == dataset.classes[int(sample.truth((40, 48)).weight.argmax())]
            assert sample.truth((40, 48)).weight.shape == (1, 3)


@pytest.mark.parametrize("name", ["valid", "validation", "VAL"])
def test_val_by_its_other_names(tmp_path: Path, name: str) -> None:
    write_folder_per_class(tmp_path, splits=("train", name))
    assert list(READER.read(tmp_path).splits) == ["train", "val"]


def test_images_in_subfolders_belong_to_the_class(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path, per_class=1, splits=())
    (tmp_path / "a" / "more").mkdir()
    (tmp_path / "a" / "000.jpg").rename(tmp_path / "a" / "more" / "x.jpg")
    assert contents(READER.read(tmp_path))["all"] == {"a/more/x.jpg": "a", "b/000.jpg": "b"}


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path, classes=("bus", "train"), splits=())
    assert READER.read(tmp_path).classes == ("bus", "train")


def test_other_formats_are_not_recognised(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc")
    write_mask_pairs(tmp_path / "masks")
    write_mask_pairs(tmp_path / "masks-alone", splits=())
    for split in ("train", "valid"):
        (tmp_path / "coco" / split).mkdir(parents=True)
        (tmp_path / "coco" / split / "a.jpg").touch()
    (tmp_path / "empty" / "a").mkdir(parents=True)
    assert not any(READER.recognises(path) for path in tmp_path.iterdir())


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path)
    (tmp_path / "train" / "a" / "notes.txt").touch()
    (tmp_path / "extra" / "a").mkdir(parents=True)
    for path in (tmp_path / "test" / "b").iterdir():
        path.unlink()
    flaws = {(flaw.path.relative_to(tmp_path).as_posix(), flaw.what) for flaw in READER.read(tmp_path).flaws}
    assert flaws == {
        ("train", "1 files are not images: not read (a/notes.txt)"),
        ("extra", "is no split (train, val, test): not read"),
        ("test/b", "class 'b' has no images here"),
    }


def test_an_empty_class_folder_of_train_is_an_error(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path)
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(UserError, match=r"train/c: class 'c' has no images"):
        READER.read(tmp_path)


def test_a_class_that_train_lacks_is_an_error(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path)
    (tmp_path / "test" / "a").rename(tmp_path / "test" / "zebra")
    with pytest.raises(UserError, match="zebra"):
        READER.read(tmp_path)


def test_one_class_is_an_error(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path, classes=("only",), splits=())
    with pytest.raises(UserError, match="only is the only class"):
        READER.read(tmp_path)


def test_names_that_differ_in_case_only_are_an_error(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path)
    (tmp_path / "val" / "b").rename(tmp_path / "val" / "B")
    with pytest.raises(UserError, match="B and b differ in case only"):
        READER.read(tmp_path)


def test_accents_may_be_stored_in_two_ways(tmp_path: Path) -> None:
    """macOS decomposes names: the class of a model trained there must be the same elsewhere."""
    write_folder_per_class(tmp_path, classes=("café", "日本"), per_class=2, splits=("train", "test"))
    (tmp_path / "test" / "café").rename(tmp_path / "test" / "cafe\u0301")
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("café", "日本")
    assert list(contents(dataset)["test"].values()) == ["café", "café", "日本", "日本"]
    assert {sample.stratum for sample in dataset.splits["test"]} == {"café", "日本"}
    assert all(sample.path.is_file() for sample in dataset.splits["test"])
    assert dataset.splits["test"][0].id == "test/cafe\u0301/000.jpg"


def test_train_and_test_alone_hold_out_a_tenth_of_each_class_and_say_so(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path, per_class=20, size=(8, 8), splits=("train", "test"))
    dataset = READER.read(tmp_path)
    train, val, said = train_val(dataset)
    assert Counter(sample.stratum for sample in train) == {"a": 18, "b": 18}
    assert Counter(sample.stratum for sample in val) == {"a": 2, "b": 2}
    assert not {sample.id for sample in train} & {sample.id for sample in val}
    assert pick_split(dataset, "test") == dataset.splits["test"]
    assert said == [
        f"{tmp_path.name} has no val split: 4 of the 40 train images are held out as val, by their sample ids"
    ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "per_class"),
    [
        ("classify-eurosat-rgb", {"train": 140, "val": 20, "test": 40}),
        ("classify-clothing-small", {"train": 32, "val": 12, "test": 12}),
    ],
)
def test_shared_data_as_its_readme_says(shared_data: Path, name: str, per_class: dict[str, int]) -> None:
    dataset = READER.read(shared_data / name)
    assert len(dataset.classes) == 10
    for split, count in per_class.items():
        assert Counter(s.stratum for s in dataset.splits[split]) == dict.fromkeys(dataset.classes, count)
    assert dataset.flaws == ()
