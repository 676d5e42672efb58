from pathlib import Path

import numpy as np
import pytest

from tests.factories import save, texture
from vision_tasks.data.catalog import open_dataset
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE

SIZE = (6, 8)
FOLDERS = {"train": "training", "val": "validation"}


def write(root: Path, index: np.ndarray) -> None:
    names = ["wall", "building, edifice", "screen door, screen", *(f"thing {i};other {i}" for i in range(4, 151))]
    rows = [f"{number}\t0.1\t10\t2\t{name}      " for number, name in enumerate(names, 1)]
    root.mkdir(exist_ok=True)
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))
    for split, folder in FOLDERS.items():
        save(root / "images" / folder / f"ADE_{split}_00000001.jpg", texture(SIZE, np.random.default_rng(0)))
        save(root / "annotations" / folder / f"ADE_{split}_00000001.png", index)


def test_values_from_1_are_classes_and_0_is_ignored(tmp_path: Path) -> None:
    index = np.uint8([0, 1, 2, 149, 150, 3] * 8).reshape(SIZE)
    write(tmp_path, index)
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.flaws) == ("ade20k", ())
    assert (len(dataset.classes), dataset.classes[:4]) == (150, ("wall", "building", "screen door", "thing 4"))
    assert {split: [sample.id for sample in samples] for split, samples in dataset.splits.items()} == {
        split: [f"images/{folder}/ADE_{split}_00000001.jpg"] for split, folder in FOLDERS.items()
    }
    expected = np.uint8([IGNORE, 0, 1, 148, 149, 2] * 8).reshape(SIZE)
    np.testing.assert_array_equal(dataset.splits["val"][0].truth(SIZE).index[0], expected)


def test_names_are_needed(tmp_path: Path) -> None:
    write(tmp_path, np.zeros(SIZE, np.uint8))
    (tmp_path / "objectInfo150.txt").unlink()
    with pytest.raises(UserError, match=r"objectInfo150\.txt: is missing; it names the classes"):
        open_dataset(tmp_path, SEGMENT.readers)
