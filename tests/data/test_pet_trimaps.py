from pathlib import Path

import numpy as np

from tests.factories import save, texture
from vision_tasks.data.catalog import open_dataset
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE

SIZE = (6, 8)


def test_pet_background_and_ignored_border(tmp_path: Path) -> None:
    trimap = np.uint8([1, 2, 3, 2, 1, 2] * 8).reshape(SIZE)
    for name in ("Abyssinian_1", "Abyssinian_2", "beagle_1"):
        save(tmp_path / "images" / f"{name}.jpg", texture(SIZE, np.random.default_rng(0)))
        save(tmp_path / "annotations" / "trimaps" / f"{name}.png", trimap)
        (tmp_path / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"macOS")
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("oxford-pets", ("background", "pet"), ())
    assert [sample.id for sample in dataset.splits["all"]] == [
        "images/Abyssinian_1.jpg", "images/Abyssinian_2.jpg", "images/beagle_1.jpg",
    ]  # fmt: skip
    expected = np.uint8([1, 0, IGNORE, 0, 1, 0] * 8).reshape(SIZE)
    np.testing.assert_array_equal(dataset.splits["all"][0].truth(SIZE).index[0], expected)
    (tmp_path / "annotations" / "trainval.txt").write_text("beagle_1 2 2 1\n")
    (tmp_path / "annotations" / "test.txt").write_text("Abyssinian_1 1 1 1\n")
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert {split: [s.path.stem for s in samples] for split, samples in dataset.splits.items()} == {
        "test": ["Abyssinian_1"], "trainval": ["beagle_1"],
    }  # fmt: skip
    assert [flaw.what for flaw in dataset.flaws] == ["1 images stand in no list: not read (Abyssinian_2)"]


def test_what_has_no_partner_is_told(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / "images" / f"{name}.jpg", texture(SIZE, np.random.default_rng(0)))
    for name in "ad":
        save(tmp_path / "annotations" / "trimaps" / f"{name}.png", np.ones(SIZE, np.uint8))
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert [sample.id for sample in dataset.splits["all"]] == ["images/a.jpg"]
    assert [(flaw.path, flaw.what) for flaw in dataset.flaws] == [
        (tmp_path / "images", "2 of 3 images have no trimap: left out (b.jpg, c.jpg)"),
        (tmp_path / "annotations" / "trimaps", "1 of 2 trimaps have no image: left out (d.png)"),
    ]
