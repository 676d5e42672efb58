"""The pet data set's lists against torchvision's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision

from tests.factories import save, texture
from vision_tasks.data.catalog import open_dataset, pick_split, train_val
from vision_tasks.data.readers import folder_per_class
from vision_tasks.data.readers.oxford_pets import READER
from vision_tasks.errors import UserError

BREEDS = ("Abyssinian", "american_bulldog", "Bengal", "german_shorthaired")  # in the order of the data set's numbers


def write_pets(root: Path, trainval: int = 10, test: int = 4) -> dict[str, list[str]]:
    """Images of every breed in turn, and their lists. Returns {split: names}."""
    lists: dict[str, list[str]] = {}
    for split, start, count in (("trainval", 0, trainval), ("test", trainval, test)):
        rows = [(f"{BREEDS[i % 4]}_{i}", i % 4 + 1) for i in range(start, start + count)]
        lists[split] = [name for name, _ in rows]
        for name in lists[split]:
            save(root / "images" / f"{name}.jpg", texture((8, 8), np.random.default_rng(0)))
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{split}.txt").write_text("".join(f"{name} {label} 1 1\n" for name, label in rows))
    return lists


def test_equals_torchvision(tmp_path: Path) -> None:
    lists = write_pets(tmp_path / "oxford-iiit-pet")
    dataset = open_dataset(tmp_path / "oxford-iiit-pet", [folder_per_class.READER, READER])
    assert (dataset.format, set(dataset.classes)) == ("oxford-pets", set(BREEDS))
    for split in ("trainval", "test"):
        theirs = torchvision.datasets.OxfordIIITPet(tmp_path, split)
        samples = dataset.splits[split]
        assert [sample.path for sample in samples] == list(theirs._images)
        labels = [dataset.classes[int(sample.truth(None).weight.argmax())] for sample in samples]
        assert labels == [BREEDS[label] for label in theirs._labels] == [sample.stratum for sample in samples]
        assert [sample.id for sample in samples] == [f"images/{name}.jpg" for name in lists[split]]


def test_val_is_held_out_of_trainval(tmp_path: Path) -> None:
    write_pets(tmp_path, trainval=80)
    dataset = READER.read(tmp_path)
    train, val, said = train_val(dataset)
    assert (len(train), len(val), len(pick_split(dataset, "test"))) == (72, 8, 4)
    assert "8 of the 80 trainval images are held out" in said[0]


def test_the_whole_list_where_there_are_no_splits(tmp_path: Path) -> None:
    lists = write_pets(tmp_path)
    for name in ("trainval.txt", "test.txt"):
        (tmp_path / "annotations" / name).unlink()
    rows = "".join(f"{name} 1 1 1\n" for name in lists["trainval"] + lists["test"])
    (tmp_path / "annotations" / "list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + rows)
    dataset = READER.read(tmp_path)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"all": 14}


def test_faults_and_what_is_not_read(tmp_path: Path) -> None:
    write_pets(tmp_path)
    save(tmp_path / "images" / "Bengal_99.jpg", texture((8, 8), np.random.default_rng(0)))
    (tmp_path / "images" / "Bengal_99.mat").touch()
    assert [flaw.what for flaw in READER.read(tmp_path).flaws] == [
        "1 images stand in no list: not read (Bengal_99.jpg)"
    ]
    listed = tmp_path / "annotations" / "test.txt"
    for text, message in (
        ("nobreed 1 1 1\n", r"test.txt: 'nobreed' has no breed in its name"),
        ("Bengal_98 1 1 1\n", r"images: 1 of the images listed in test.txt are not here \(Bengal_98\); add the files"),
        ("bengal_2 1 1 1\n", r"images: 1 of the images listed in test.txt are not here"),
    ):
        listed.write_text(text)
        with pytest.raises(UserError, match=message):
            READER.read(tmp_path)
    save(tmp_path / "images" / "bengal_2.jpg", texture((8, 8), np.random.default_rng(0)))
    with pytest.raises(UserError, match="Bengal and bengal differ in case only"):
        READER.read(tmp_path)


def test_one_breed_only(tmp_path: Path) -> None:
    write_pets(tmp_path, trainval=1, test=0)
    with pytest.raises(UserError, match="Abyssinian is the only class"):
        READER.read(tmp_path)


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "coco" / "images").mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances.json").touch()
    assert not READER.recognises(tmp_path / "coco")
    assert not READER.recognises(tmp_path / "coco" / "annotations" / "instances.json")
