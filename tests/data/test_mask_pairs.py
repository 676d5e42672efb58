from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.factories import save, write_mask_pairs
from vision_tasks.data.readers.mask_pairs import READER
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE

SIZE = (48, 64)
MASK = Path("train/masks/000.png")


def first(root: Path) -> np.ndarray:
    """The first mask of train, [H,W]."""
    truth = READER.read(root).splits["train"][0].truth(SIZE)
    assert truth.index.shape[0] == 1
    return truth.index[0].numpy()


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "val", "test")])
def test_reads_what_was_written(tmp_path: Path, splits: tuple[str, ...]) -> None:
    written = write_mask_pairs(tmp_path, splits=splits)
    assert READER.recognises(tmp_path)
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("background", "a", "b")
    assert dataset.flaws == ()
    assert {k: [s.id for s in v] for k, v in dataset.splits.items()} == {k: list(v) for k, v in written.items()}
    for split, samples in dataset.splits.items():
        for sample in samples:
            assert sample.path == tmp_path / sample.id
            truth = sample.truth(SIZE)
            assert truth.num_classes == 3
            np.testing.assert_array_equal(truth.index.numpy(), written[split][sample.id][None])


def test_valid_is_val(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path, splits=("valid", "train"))
    assert list(READER.read(tmp_path).splits) == ["train", "val"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "ground\nbig tree\ncar\n"),
        ("classes.txt", "# ours\n\n0 ground\n1 big tree\n2: car"),
        ("classes.txt", "\ufeff2 car\n0 ground\n1 big tree\n"),
        ("classes.csv", "name,r,g,b\nground,0,0,0\nbig tree,0,255,0\ncar,9,9,9\n"),
        ("classes.csv", "ground\nbig tree\ncar\nvoid\n"),
        ("classes.txt", "0 ground\n1 big tree\n2 car\n200 Unlabelled"),
    ],
)
def test_class_lists(tmp_path: Path, file: str, text: str) -> None:
    written = write_mask_pairs(tmp_path, class_list=False)
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert READER.read(tmp_path).classes == ("ground", "big tree", "car")
    np.testing.assert_array_equal(first(tmp_path), written["train"]["train/images/000.jpg"])


@pytest.mark.parametrize("void", ["void", "Unlabelled", "UNLABELED", "ignore"])
def test_a_last_class_that_is_void_is_ignored(tmp_path: Path, void: str) -> None:
    written = write_mask_pairs(tmp_path, classes=("background", "a", void))
    expected = written["train"]["train/images/000.jpg"].copy()
    assert (expected == 2).any()
    expected[expected == 2] = IGNORE
    assert READER.read(tmp_path).classes == ("background", "a")
    np.testing.assert_array_equal(first(tmp_path), expected)


def test_values_with_gaps_are_numbered_in_order(tmp_path: Path) -> None:
    index = write_mask_pairs(tmp_path)["train"]["train/images/000.jpg"]
    (tmp_path / "classes.txt").write_text("7 a\n0 background\n40 b\n")
    save(tmp_path / MASK, np.uint8([0, 7, 40])[index])
    assert READER.read(tmp_path).classes == ("background", "a", "b")
    np.testing.assert_array_equal(first(tmp_path), index)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("background", "x"), ("background", "foreground")),
        (("background", "x", "y"), ("background", "class1", "class2")),
    ],
)
def test_without_a_list_classes_are_what_the_masks_hold(
    tmp_path: Path, classes: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    written = write_mask_pairs(tmp_path, classes=classes, class_list=False)
    index = written["train"]["train/images/000.jpg"]
    index[0] = IGNORE
    save(tmp_path / MASK, index)
    assert READER.read(tmp_path).classes == expected
    np.testing.assert_array_equal(first(tmp_path), index)


@pytest.mark.parametrize("class_list", [False, True])
def test_masks_of_0_and_255_are_background_and_foreground_and_that_is_told(tmp_path: Path, class_list: bool) -> None:
    written = write_mask_pairs(tmp_path, classes=("background", "foreground"), class_list=class_list)
    for split in written.values():
        for sample_id, index in split.items():
            save((tmp_path / sample_id.replace("images", "masks")).with_suffix(".png"), index * np.uint8(255))
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("background", "foreground")
    assert [flaw.what for flaw in dataset.flaws] == ["masks hold only 0 and 255: read as background and foreground"]
    np.testing.assert_array_equal(first(tmp_path), written["train"]["train/images/000.jpg"])


@pytest.mark.parametrize("mode", ["palette", "16 bit", "1 bit"])
def test_a_mask_is_its_indices_however_it_is_stored(tmp_path: Path, mode: str) -> None:
    classes = ("background", "a") if mode == "1 bit" else ("background", "a", "b")
    index = write_mask_pairs(tmp_path, classes=classes)["train"]["train/images/000.jpg"]
    image = Image.fromarray(index)
    if mode == "palette":
        image = Image.fromarray(index, mode="P")
        image.putpalette([200, 10, 10, 0, 0, 0, 10, 200, 10])
    elif mode == "16 bit":
        image = Image.fromarray(index.astype(np.uint16))
    else:
        image = Image.fromarray(index.astype(bool))
    image.save(tmp_path / MASK)
    np.testing.assert_array_equal(first(tmp_path), index)


def test_a_value_that_is_no_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    index = np.zeros((48, 64), dtype=np.uint8)
    index[0, :5], index[1, :2] = 3, 254
    save(tmp_path / MASK, index)
    with pytest.raises(UserError, match=r"train/masks/000\.png: has the values 3 \(5 pixels\), 254 \(2 pixels\)"):
        first(tmp_path)


def test_masks_that_are_none_are_errors(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    save(tmp_path / MASK, np.zeros((48, 64, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"000\.png: is a colour image \(RGB\)"):
        first(tmp_path)
    save(tmp_path / MASK, np.full((48, 64), 300, dtype=np.uint16))
    with pytest.raises(UserError, match=r"000\.png: has values up to 300"):
        first(tmp_path)
    (tmp_path / MASK).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"000\.png: can't be read as a mask"):
        first(tmp_path)


def test_a_mask_of_another_size_than_its_image_is_an_error(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    sample = READER.read(tmp_path).splits["train"][0]
    with pytest.raises(UserError, match=r"000\.png: is 64x48 pixels, but its image is 48x64"):
        sample.truth((64, 48))


@pytest.mark.parametrize(("gone", "kept"), [("images", "masks"), ("masks", "images")])
def test_pairs_that_are_incomplete_are_an_error(tmp_path: Path, gone: str, kept: str) -> None:
    write_mask_pairs(tmp_path, images=7)
    for path in sorted((tmp_path / "train" / gone).iterdir())[:5]:
        path.unlink()
    with pytest.raises(UserError, match=rf"train/{kept}: 5 of 7 {kept} have no .*\(000.*, 001.*, 002.* and 2 more\)"):
        READER.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 a\n0 b\n", "0 stands in it more than once"),
        ("a\na\nb\n", "a stands in it more than once"),
        ("a\nvoid\n", "lists 1 classes"),
        ("", "lists 0 classes"),
        ("0 a\n255 b\n", "254 classes of values below 255"),
        ("0 a\n1 b\n300 void\n", "254 classes of values below 255"),
        ("\n".join(f"c{i}" for i in range(255)), "254 classes of values below 255"),
    ],
)
def test_class_lists_that_cannot_be_are_errors(tmp_path: Path, text: str, reason: str) -> None:
    write_mask_pairs(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=rf"classes\.txt: .*{reason}"):
        READER.read(tmp_path)


def test_the_largest_class_list(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(f"c{i}" for i in range(254)))
    save(tmp_path / MASK, np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8) % 254)
    assert first(tmp_path).max() == 253


def test_masks_of_one_class_are_an_error(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path, classes=("background",), class_list=False)
    with pytest.raises(UserError, match="one class only"):
        READER.read(tmp_path)


@pytest.mark.shared
def test_shared_nuclei_as_its_readme_says(shared_data: Path) -> None:
    dataset = READER.read(shared_data / "segment-nuclei-dsb2018")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 72, "val": 10, "test": 22}
    assert dataset.classes == ("background", "foreground")
    assert dataset.flaws == ()


@pytest.mark.shared
def test_shared_camvid_as_its_readme_says(shared_data: Path) -> None:
    dataset = READER.read(shared_data / "segment-camvid")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 367, "val": 101, "test": 233}
    assert len(dataset.classes) == 11
    assert "Unlabelled" not in dataset.classes
    counts = sum(
        np.bincount(sample.truth((360, 480)).index.flatten().numpy(), minlength=256)
        for samples in dataset.splits.values()
        for sample in samples
    )
    percent = [15.8, 24.1, 1.0, 29.3, 6.7, 11.2, 1.1, 1.4, 4.6, 0.6, 0.5]
    np.testing.assert_allclose(100 * counts[:11] / counts.sum(), percent, atol=0.05)
    np.testing.assert_allclose(100 * counts[IGNORE] / counts.sum(), 3.6, atol=0.05)
