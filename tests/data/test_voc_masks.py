from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.factories import save, texture
from vision_tasks.cards import dataset_card
from vision_tasks.data.catalog import open_dataset
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE

SIZE = (6, 8)
INDEX = np.uint8([0, 1, 20, 255, 3, 0] * 8).reshape(SIZE)


def write(root: Path, lists: dict[str, list[str]], coloured: bool = False) -> None:
    for number in range(6):
        save(root / "JPEGImages" / f"2007_{number}.jpg", texture(SIZE, np.random.default_rng(number)))
    (root / "SegmentationClass").mkdir()
    for number in range(4):  # the other two have boxes only
        mask = Image.fromarray(np.roll(INDEX, number), mode="P")
        mask.putpalette(palette())
        (mask.convert("RGB") if coloured else mask).save(root / "SegmentationClass" / f"2007_{number}.png")
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(names))


def palette() -> list[int]:
    """The four colours that are needed, as the files have them."""
    values = [0] * 768
    for number, colour in {1: (128, 0, 0), 3: (128, 128, 0), 20: (0, 64, 128), 255: (224, 224, 192)}.items():
        values[3 * number : 3 * number + 3] = colour
    return values


@pytest.mark.parametrize("coloured", [False, True])
def test_lists_masks_and_the_border(tmp_path: Path, coloured: bool) -> None:
    write(tmp_path, {"train": ["2007_2", "2007_0"], "val": ["2007_1"], "trainval": ["2007_0", "2007_1"]}, coloured)
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert dataset.format == "pascal-voc"
    assert dataset.classes == ("background", *dataset_card("voc2012").classes)
    assert {split: [sample.path.stem for sample in samples] for split, samples in dataset.splits.items()} == {
        "train": ["2007_2", "2007_0"], "val": ["2007_1"],
    }  # fmt: skip
    assert [flaw.what for flaw in dataset.flaws] == ["1 images stand in no list: not read (2007_3)"]
    np.testing.assert_array_equal(dataset.splits["val"][0].truth(SIZE).index[0], np.roll(INDEX, 1))
    assert (dataset.splits["val"][0].truth(SIZE).index == IGNORE).sum() == 8


def test_without_lists_all_masks_are_read(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert [sample.path.stem for sample in open_dataset(tmp_path, SEGMENT.readers).splits["all"]] == [
        f"2007_{number}" for number in range(4)
    ]


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"train": ["2007_0", "2007_5"]})
    with pytest.raises(
        UserError, match=r"train\.txt: 1 of the 2 names that it lists have no image with a mask \(2007_5"
    ):
        open_dataset(tmp_path, SEGMENT.readers)
    (tmp_path / "JPEGImages" / "2007_1.jpg").unlink()
    with pytest.raises(UserError, match=r"SegmentationClass: 1 masks have no image in JPEGImages/ \(2007_1\.png\)"):
        open_dataset(tmp_path, SEGMENT.readers)
