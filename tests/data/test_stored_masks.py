"""Which file is whose mask, and what is wrong with masks by the line that a user reads."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import vision_tasks as vt
from tests import factories
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.stored_masks import StoredMasks, read_stored_masks
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE, Masks, Sample, Size


def nothing(_: Size | None) -> Masks:
    raise AssertionError("no truth is asked for")


def sample(name: str) -> Sample[Masks]:
    return Sample(name, Path("data") / name, nothing)


TEST = (sample("test/images/a.jpg"), sample("test/images/b.png"))
DATA: Dataset[Masks] = Dataset(
    Path("data"), "mask-pairs", ("ground", "ant", "bee"), {"test": TEST, "train": (sample("train/images/c.jpg"),)}
)
A, B = np.uint8([[0, 1], [2, IGNORE]]), np.uint8([[1, 1, 1]])


def read(folder: Path, files: dict[str, np.ndarray], data: Dataset[Masks] = DATA) -> StoredMasks:
    for name, values in files.items():
        factories.save(folder / name, values)
    return read_stored_masks(folder, data, data.splits["test"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("masks/a.jpg.png", "masks/b.png.png"),
        ("masks/test/images/a.jpg.png", "masks/test/images/b.png.png"),
        ("a.png", "b.png"),
        ("a.tif", "b.bmp"),
        ("test/masks/a.png", "test/masks/b.png"),
        ("my/run/test/images/a.png", "my/run/test/images/b.png"),
    ],
)
def test_a_mask_is_found_by_the_name_of_its_image(tmp_path: Path, first: str, second: str) -> None:
    found = read(tmp_path, {first: A, second: B})
    assert [mask.index.tolist() for mask in found.predictions] == [[A.tolist()], [B.tolist()]]
    assert (found.remarks, found.predictions[0].num_classes, len(found.predictions)) == ([], 3, 2)


def test_drawings_beside_the_masks_of_predict_are_no_masks(tmp_path: Path) -> None:
    drawing = np.zeros((4, 4, 3), np.uint8)
    files = {"masks/a.jpg.png": A, "masks/b.png.png": B, "drawings/a.jpg.png": drawing, "drawings/b.png.png": drawing}
    assert read(tmp_path, files).remarks == []


def test_palettes_are_indices(tmp_path: Path) -> None:
    read(tmp_path, {"a.png": A, "b.png": B})
    picture = Image.fromarray(A).convert("P")
    picture.putpalette([200, 10, 10] * 256)
    picture.save(tmp_path / "a.png")
    assert read_stored_masks(tmp_path, DATA, TEST).predictions[0].index.tolist() == [A.tolist()]


def test_the_longer_common_end_wins_and_the_rest_is_named(tmp_path: Path) -> None:
    files = {"test/images/a.png": A, "other/a.png": B, "test/images/b.png": B, "c.png": A, "d.png": A}
    found = read(tmp_path, files)
    assert found.predictions[0].index.tolist() == [A.tolist()]
    assert found.remarks == [f"{tmp_path}: left out 3 masks of no image that is scored: c.png, d.png, other/a.png"]


def test_an_image_of_another_split_has_its_own_mask(tmp_path: Path) -> None:
    data: Dataset[Masks] = Dataset(
        Path("data"),
        "mask-pairs",
        ("x", "y", "z"),
        {"test": (sample("test/a.jpg"),), "train": (sample("train/a.jpg"),)},
    )
    found = read(tmp_path, {"train/a.png": B, "test/a.png": A}, data)
    assert found.predictions[0].index.tolist() == [A.tolist()]
    assert found.remarks == [f"{tmp_path}: left out 1 masks of no image that is scored: train/a.png"]


def test_two_classes_as_0_and_255(tmp_path: Path) -> None:
    data: Dataset[Masks] = Dataset(Path("data"), "mask-pairs", ("ground", "ant"), {"test": TEST})
    black_and_white = np.uint8([[0, 255]])
    found = read(tmp_path, {"a.png": black_and_white, "b.png": black_and_white}, data)
    assert found.predictions[0].index.tolist() == [[[0, 1]]]
    assert found.remarks == [f"{tmp_path}: masks hold only 0 and 255: read as ground and ant"]
    found = read(tmp_path, {"b.png": np.uint8([[0, 1, 255]])}, data)
    assert found.predictions[0].index.tolist() == [[[0, 255]]]
    assert found.remarks == []


def test_rare_objects_are_found_before_255_is_none(tmp_path: Path) -> None:
    """Of a hundred masks one has an object, and that is not among the first that are looked at."""
    names = [f"{i:03}" for i in range(100)]
    samples = {"test": tuple(sample(f"{name}.jpg") for name in names)}
    data: Dataset[Masks] = Dataset(Path("data"), "mask-pairs", ("ground", "ant"), samples)
    found = read(tmp_path, {f"{name}.png": np.uint8([[0, 255 * (name == "002")]]) for name in names}, data)
    assert found.predictions[2].index.tolist() == [[[0, 1]]]
    assert found.remarks == [f"{tmp_path}: masks hold only 0 and 255: read as ground and ant"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.png": A}, "no mask for 1 of 2 images: test/images/b.png. Predict them, or choose the split"),
        (
            {"x/a.png": A, "y/a.png": A, "b.png": B},
            r"x/a.png and y/a.png are both masks of test/images/a.jpg; keep one",
        ),
    ],
)
def test_missing_and_double_masks_are_errors(tmp_path: Path, files: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, files)


def test_a_name_of_two_images_is_an_error(tmp_path: Path) -> None:
    data: Dataset[Masks] = Dataset(
        Path("data"), "mask-pairs", ("x", "y"), {"test": (sample("east/a.jpg"), sample("west/a.jpg"))}
    )
    with pytest.raises(UserError, match=r"a\.png: may be of east/a\.jpg or west/a\.jpg; put it into a folder"):
        read(tmp_path, {"a.png": A}, data)


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.json: is no folder; predictions are a folder with a mask for each image"):
        read_stored_masks(tmp_path / "p.json", DATA, TEST)


def test_unknown_values_are_named_with_their_counts_when_they_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": np.uint8([[0, 3, 3], [9, 0, 0]]), "b.png": B})
    with pytest.raises(
        UserError, match=r"a\.png: has the values 3 \(2 pixels\), 9 \(1 pixels\), which are none of the 3"
    ):
        found.predictions[0]


def test_a_mask_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.png": A, "b.png": B})
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"b\.png: can't be read as a mask; write it again"):
        found.predictions[1]


def test_a_mask_of_another_size_is_an_error_of_evaluate(tmp_path: Path) -> None:
    written = factories.write_mask_pairs(tmp_path / "data", images=3)
    for name, index in written["test"].items():
        shrunk = cv2.resize(index, (32, 24), interpolation=cv2.INTER_NEAREST)
        factories.save(tmp_path / "masks" / f"{Path(name).stem}.png", shrunk)
    said = r"^test/images/000\.jpg: its predicted mask is 32x24 pixels, but its truth is 64x48; predict masks at the "
    with pytest.raises(UserError, match=said):
        vt.evaluate("segment", predictions=tmp_path / "masks", data=tmp_path / "data")


def test_truth_that_cannot_be_read_leaves_its_image_out(tmp_path: Path) -> None:
    written = factories.write_mask_pairs(tmp_path / "data", images=3)
    for name, index in written["test"].items():
        factories.save(tmp_path / "p" / f"{Path(name).stem}.png", index)
    (tmp_path / "data" / "test" / "masks" / "001.png").write_bytes(b"none")
    found = vt.evaluate("segment", predictions=tmp_path / "p", data=tmp_path / "data")
    assert (found["images"], found["miou"], len(found["failed"])) == (2, 1, 1)
    assert found["failed"][0]["path"].endswith("001.jpg")
