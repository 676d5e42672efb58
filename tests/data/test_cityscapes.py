from pathlib import Path

import numpy as np
import pytest

from tests.factories import save, texture
from vision_tasks.cards import dataset_card
from vision_tasks.data.catalog import open_dataset
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE

SIZE = (6, 8)
# The published table of ids (cityscapesScripts, labels.py): trainId of the ids 0 to 33.
TRAIN_IDS = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255,
                         16, 17, 18]  # fmt: skip
LICENCE_PLATE = 255  # -1 as a byte


def write(root: Path, split: str, city: str, number: int, ids: np.ndarray) -> None:
    name = f"{city}_{number:06}_000019"
    save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", texture(SIZE, np.random.default_rng(number)))
    folder = root / "gtFine" / split / city
    save(folder / f"{name}_gtFine_labelIds.png", ids)
    save(folder / f"{name}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
    save(folder / f"{name}_gtFine_color.png", np.zeros((*SIZE, 3), np.uint8))


def test_ids_become_the_nineteen_classes(tmp_path: Path) -> None:
    ids = np.uint8([*range(34), *[LICENCE_PLATE] * 14]).reshape(SIZE)
    write(tmp_path, "train", "ulm", 0, ids)
    write(tmp_path, "train", "bonn", 1, np.flipud(ids))
    write(tmp_path, "val", "bonn", 2, ids)
    (tmp_path / "leftImg8bit" / "demoVideo").mkdir()
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.flaws) == ("cityscapes", ())
    assert dataset.classes == dataset_card("cityscapes").classes
    assert {split: [sample.id for sample in samples] for split, samples in dataset.splits.items()} == {
        "train": ["leftImg8bit/train/bonn/bonn_000001_000019_leftImg8bit.png",
                  "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png"],
        "val": ["leftImg8bit/val/bonn/bonn_000002_000019_leftImg8bit.png"],
    }  # fmt: skip
    expected = np.uint8([*TRAIN_IDS, *[IGNORE] * 14]).reshape(SIZE)
    np.testing.assert_array_equal(dataset.splits["train"][1].truth(SIZE).index[0], expected)
    np.testing.assert_array_equal(dataset.splits["train"][0].truth(SIZE).index[0], np.flipud(expected))


def test_what_is_missing(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path, split, "ulm", 0, np.zeros(SIZE, np.uint8))
    for path in (tmp_path / "gtFine" / "test" / "ulm").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"leftImg8bit/test: 1 of 1 images have no mask of the same name in test/"):
        open_dataset(tmp_path, SEGMENT.readers)
    (tmp_path / "gtFine" / "test" / "ulm").rmdir()
    (tmp_path / "gtFine" / "test").rmdir()
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert list(dataset.splits) == ["train"]
    assert [flaw.what for flaw in dataset.flaws] == ["has no masks in gtFine/test: left out"]


def test_an_id_that_is_none_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "train", "ulm", 0, np.full(SIZE, 34, np.uint8))
    with pytest.raises(UserError, match=r"labelIds\.png: has the values 34 \(48 pixels\)"):
        open_dataset(tmp_path, SEGMENT.readers).splits["train"][0].truth(SIZE)
