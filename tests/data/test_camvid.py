from pathlib import Path

import numpy as np
import pytest

from tests.factories import colour_list, in_colours, save, texture, write_mask_pairs
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.dataset import Dataset
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE, Masks

SIZE = (48, 64)
COLOURS = {"Sky": (128, 128, 128), "Void": (0, 0, 0), "Wall": (64, 192, 0)}
SEGNET = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip

Written = dict[str, dict[str, np.ndarray]]


def write(root: Path, folders: dict[str, tuple[str, str]], ending: str = "", coloured: bool = False) -> Written:
    """Pictures and masks of three values or colours in folders of images and masks by split: {split: {id: index}}."""
    source = write_mask_pairs(root / "source", splits=tuple(folders), class_list=False)
    written: Written = {split: {} for split in folders}
    for split, samples in source.items():
        images, masks = folders[split]
        for sample_id, index in samples.items():
            stem = f"{split}_{Path(sample_id).stem}"
            save(root / "set" / images / f"{stem}.png", texture(SIZE, np.random.default_rng(1)))
            save(root / "set" / masks / f"{stem}{ending}.png", in_colours(index, COLOURS) if coloured else index)
            written[split][f"{images}/{stem}.png"] = index
    return written


def check(dataset: Dataset[Masks], written: Written, classes: list[int]) -> None:
    """`classes` are those that the three values became."""
    assert {split: [s.id for s in samples] for split, samples in dataset.splits.items()} == {
        split: list(samples) for split, samples in written.items()
    }
    for split, samples in dataset.splits.items():
        for sample in samples:
            np.testing.assert_array_equal(sample.truth(SIZE).index[0], np.uint8(classes)[written[split][sample.id]])


def test_segnets_edition(tmp_path: Path) -> None:
    folders = {split: (split, f"{split}annot") for split in ("train", "val", "test")}
    written = write(tmp_path, folders)
    dataset = open_dataset(tmp_path / "set", SEGMENT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("camvid", SEGNET, ())
    check(dataset, written, [0, 1, 2])
    save(tmp_path / "set" / "trainannot" / "train_000.png", np.full(SIZE, 11, np.uint8))
    assert (dataset.splits["train"][0].truth(SIZE).index == IGNORE).all()
    save(tmp_path / "set" / "trainannot" / "train_000.png", np.full(SIZE, 12, np.uint8))
    with pytest.raises(UserError, match=r"trainannot/train_000\.png: has the values 12 \(3072 pixels\)"):
        dataset.splits["train"][0].truth(SIZE)


def test_segnets_lists_say_what_belongs_and_in_which_order(tmp_path: Path) -> None:
    written = write(tmp_path, {"train": ("train", "trainannot")})["train"]
    names = [Path(sample_id).name for sample_id in written]
    lines = [f"/SegNet/CamVid/train/{name} /SegNet/CamVid/trainannot/{name}" for name in (names[2], names[0])]
    (tmp_path / "set" / "train.txt").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / "set", SEGMENT.readers)
    check(dataset, {"train": {f"train/{name}": written[f"train/{name}"] for name in (names[2], names[0])}}, [0, 1, 2])
    assert [flaw.what for flaw in dataset.flaws] == ["2 images stand in no list: not read (train_001, train_003)"]
    (tmp_path / "set" / "train.txt").write_text("/SegNet/CamVid/train/gone.png /SegNet/CamVid/trainannot/gone.png\n")
    with pytest.raises(UserError, match=r"train\.txt: 1 of the 1 names that it lists have no image with a mask \(gone"):
        open_dataset(tmp_path / "set", SEGMENT.readers)


def test_lists_of_names_with_spaces(tmp_path: Path) -> None:
    """Of the whole line before its first word, which may be another image's name."""
    for name in ("my", "my photo 1", "my photo 2", "other"):
        save(tmp_path / "train" / f"{name}.png", texture(SIZE, np.random.default_rng(1)))
        save(tmp_path / "trainannot" / f"{name}.png", np.zeros(SIZE, np.uint8))
    lines = [
        "my photo 2.png",
        "/our set/train/my photo 1.png",
        "/our set/train/other.png",
        "train/my.png annot/other.png",
    ]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert [sample.path.stem for sample in dataset.splits["train"]] == ["my photo 2", "my photo 1", "other", "my"]
    assert dataset.flaws == ()


def test_kaggles_edition(tmp_path: Path) -> None:
    written = write(tmp_path, {s: (s, f"{s}_labels") for s in ("train", "val", "test")}, "_L", coloured=True)
    with pytest.raises(UserError, match=r"the masks have colours; add a class_dict\.csv"):
        open_dataset(tmp_path / "set", SEGMENT.readers)
    (tmp_path / "set" / "class_dict.csv").write_text(colour_list("class_dict.csv", COLOURS))
    dataset = open_dataset(tmp_path / "set", SEGMENT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("camvid", ("Sky", "Wall"), ())
    check(dataset, written, [0, IGNORE, 1])


def test_the_authors_edition(tmp_path: Path) -> None:
    written = write(tmp_path, {"all": ("701_StillsRaw_full", "LabeledApproved_full")}, "_L", coloured=True)
    (tmp_path / "set" / "label_colors.txt").write_text(colour_list("label_colors.txt", COLOURS))
    dataset = open_dataset(tmp_path / "set", SEGMENT.readers)
    assert (dataset.format, dataset.classes) == ("camvid", ("Sky", "Wall"))
    check(dataset, written, [0, IGNORE, 1])


def test_fast_ais_edition(tmp_path: Path) -> None:
    written = write(tmp_path, {"all": ("images", "labels")}, "_P")["all"]
    (tmp_path / "set" / "codes.txt").write_text("Sky\nVoid\nWall")
    dataset = open_dataset(tmp_path / "set", SEGMENT.readers)
    assert (dataset.format, dataset.classes) == ("camvid", ("Sky", "Wall"))
    check(dataset, {"all": written}, [0, IGNORE, 1])
    (tmp_path / "set" / "valid.txt").write_text("all_003.png\nall_001.png\n")
    ids = {split: [f"images/all_00{i}.png" for i in numbers] for split, numbers in {"train": "02", "val": "31"}.items()}
    split = {split: {id: written[id] for id in each} for split, each in ids.items()}
    check(open_dataset(tmp_path / "set", SEGMENT.readers), split, [0, IGNORE, 1])


@pytest.mark.parametrize(("gone", "said"), [("train", "masks have no image"), ("trainannot", "images have no mask")])
def test_pairs_that_are_incomplete_are_an_error(tmp_path: Path, gone: str, said: str) -> None:
    write(tmp_path, {"train": ("train", "trainannot")})
    (tmp_path / "set" / gone / "train_001.png").unlink()
    with pytest.raises(UserError, match=rf"1 of 4 {said} of the same name .*\(train_001\.png\)"):
        open_dataset(tmp_path / "set", SEGMENT.readers)
