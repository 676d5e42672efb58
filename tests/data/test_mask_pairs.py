from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.factories import save, write_mask_pairs
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.decode import read_image
from vision_tasks.data.loader import Loader
from vision_tasks.data.readers.mask_pairs import READER
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.geometry import letterbox
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE, Patch

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


def test_splits_within_images_and_masks(tmp_path: Path) -> None:
    written = write_mask_pairs(tmp_path / "outside", splits=("train", "valid"))
    for split in ("train", "valid"):
        for kind in ("images", "masks"):
            (tmp_path / "inside" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / "outside" / split / kind).rename(tmp_path / "inside" / kind / split)
    dataset = READER.read(tmp_path / "inside")
    assert list(dataset.splits) == ["train", "val"]
    sample = dataset.splits["val"][0]
    assert sample.id == "images/valid/000.jpg"
    np.testing.assert_array_equal(sample.truth(SIZE).index[0], written["valid"]["valid/images/000.jpg"])
    (tmp_path / "inside" / "masks" / "valid").rename(tmp_path / "inside" / "masks" / "other")
    with pytest.raises(UserError, match="val is in only one of images/ and masks/"):
        READER.read(tmp_path / "inside")


def test_names_of_masks_may_end_in_what_they_are(tmp_path: Path) -> None:
    written = write_mask_pairs(tmp_path)
    for path in (tmp_path / "train" / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    np.testing.assert_array_equal(first(tmp_path), written["train"]["train/images/000.jpg"])
    save(tmp_path / MASK, written["train"]["train/images/000.jpg"])
    with pytest.raises(UserError, match=r"000\.png and 000_mask\.png are masks of one image"):
        READER.read(tmp_path)


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
        ("classes.csv", "name;r;g;b\r\nground;0;0;0\r\nbig tree;0;255;0\r\ncar;9;9;9\r\n"),
        ("classes.csv", "id,name\n2,car\n0,ground\n1,big tree\n"),
        ("classes.csv", "Name\tValue\ncar\t2\nground\t0\nbig tree\t1\nvoid\t7\n"),
        ("classes.txt", "0 ground\n1 big tree\n2 car\n200 Unlabelled"),
    ],
)
def test_class_lists(tmp_path: Path, file: str, text: str) -> None:
    written = write_mask_pairs(tmp_path, class_list=False)
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert READER.read(tmp_path).classes == ("ground", "big tree", "car")
    np.testing.assert_array_equal(first(tmp_path), written["train"]["train/images/000.jpg"])


@pytest.mark.parametrize("void", ["void", "Unlabelled", "UNLABELED", "ignore"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_class_that_is_void_is_ignored_wherever_it_stands(tmp_path: Path, void: str, place: int) -> None:
    names = ["background", "a", "b"]
    names[place] = void
    index = write_mask_pairs(tmp_path, classes=names)["train"]["train/images/000.jpg"]
    kept = [number for number in range(3) if number != place]
    expected = np.full_like(index, IGNORE)
    for number, value in enumerate(kept):
        expected[index == value] = number
    assert (expected == IGNORE).any()
    assert READER.read(tmp_path).classes == tuple(names[value] for value in kept)
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


@pytest.mark.parametrize("names", ["background\ndefect\n", "background\ndefect\nvoid\n"])
@pytest.mark.parametrize("value", [1, 255])
def test_rare_objects_are_found_before_255_is_ignored(tmp_path: Path, names: str, value: int) -> None:
    """Of a hundred masks two have an object, and those are not among the first that are looked at."""
    defect = np.zeros((8, 8), np.uint8)
    defect[2:5] = value
    for i in range(100):
        save(tmp_path / "images" / f"{i:03}.png", np.zeros((8, 8, 3), np.uint8))
        save(
            tmp_path / "masks" / f"{i:03}.png", defect if i in (1, 98) else 2 * (defect > 0) * np.uint8("void" in names)
        )
    (tmp_path / "classes.txt").write_text(names)
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("background", "defect")
    said = ["masks hold only 0 and 255: read as background and defect"]
    assert [flaw.what for flaw in dataset.flaws] == (said if value == 255 else [])
    counts = [sample.truth(None).counts(2).tolist() for sample in dataset.splits["all"]]
    assert counts[1] == counts[98] == [40, 24]
    assert counts[0] == [40 if "void" in names else 64, 0]


@pytest.mark.parametrize(
    "mode", ["palette", "16 bit", "32 bit", "whole floats", "1 bit", "grey RGB", "grey and alpha", "RGBA"]
)
def test_a_mask_is_its_indices_however_it_is_stored(tmp_path: Path, mode: str) -> None:
    classes = ("background", "a") if mode == "1 bit" else ("background", "a", "b")
    index = write_mask_pairs(tmp_path, classes=classes, class_list=False)["train"]["train/images/000.jpg"]
    path, image = tmp_path / MASK, Image.fromarray(index)
    path.unlink()
    if mode == "palette":
        image = Image.fromarray(index, mode="P")
        image.putpalette([200, 10, 10, 0, 0, 0, 10, 200, 10])
    elif mode == "16 bit":
        image = Image.fromarray(index.astype(np.uint16))
    elif mode in ("32 bit", "whole floats"):  # which PNG has not
        path = path.with_suffix(".tif")
        image = Image.fromarray(index.astype(np.int32 if mode == "32 bit" else np.float32))
    elif mode == "1 bit":
        image = Image.fromarray(index.astype(bool))
    else:
        image = image.convert({"grey RGB": "RGB", "grey and alpha": "LA", "RGBA": "RGBA"}[mode])
        if mode != "grey RGB":
            image.putalpha(7)
    image.save(path)
    np.testing.assert_array_equal(first(tmp_path), index)
    if mode != "1 bit":  # whose file says nothing of a class list's colours
        (tmp_path / "classes.csv").write_text("name,r,g,b\nbackground,0,0,0\na,9,9,9\nb,200,0,0\n")
        if mode not in ("grey RGB", "RGBA"):  # where the list has colours, several channels are one
            np.testing.assert_array_equal(first(tmp_path), index)


@pytest.mark.parametrize("kind", ["alpha", "16 bit", "grey"])
def test_images_of_other_kinds_come_through_with_their_masks(tmp_path: Path, kind: str) -> None:
    written = write_mask_pairs(tmp_path, splits=("train",), images=1)["train"]["train/images/000.jpg"]
    red, other = np.full(SIZE, 200, np.uint8), np.full(SIZE, 40, np.uint8)
    stored = {
        "alpha": np.dstack([other, other, red, np.full(SIZE, 17, np.uint8)]),  # as OpenCV writes it: BGRA
        "16 bit": np.dstack([other, other, red]).astype(np.uint16) * 257,
        "grey": red,
    }[kind]
    (tmp_path / "train" / "images" / "000.jpg").unlink()
    assert cv2.imwrite(str(tmp_path / "train" / "images" / "000.png"), stored)
    samples = READER.read(tmp_path).splits["train"]
    expected = (200, 200, 200) if kind == "grey" else (200, 40, 40)
    assert (read_image(samples[0].path).pixels == expected).all()
    (batch,) = Loader(samples, [[(Patch(0, lambda size: letterbox(size, SIZE)),)]], SIZE, SIZE)
    np.testing.assert_array_equal(batch.targets.index[0], written)
    np.testing.assert_allclose(batch.images[0].mean(dim=(1, 2)) * 255, expected, atol=0.01)


def test_a_value_that_is_no_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    index = np.zeros((48, 64), dtype=np.uint8)
    index[0, :5], index[1, :2] = 3, 254
    save(tmp_path / MASK, index)
    with pytest.raises(UserError, match=r"train/masks/000\.png: has the values 3 \(5 pixels\), 254 \(2 pixels\)"):
        first(tmp_path)


def test_masks_that_hold_no_classes_are_errors(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path, class_list=False)
    (tmp_path / "classes.txt").write_text("background\na\nb\n")
    coloured = np.zeros((48, 64, 3), dtype=np.uint8)
    coloured[..., 1] = 1
    sample = READER.read(tmp_path).splits["train"][0]
    save(tmp_path / MASK, coloured)
    with pytest.raises(UserError, match=r"000\.png: has colours; .* classes\.csv must say name,r,g,b"):
        sample.truth(SIZE)
    save(tmp_path / MASK, np.full((48, 64), 300, dtype=np.uint16))
    with pytest.raises(UserError, match=r"000\.png: has values up to 300"):
        sample.truth(SIZE)
    (tmp_path / MASK).unlink()
    stored = tmp_path / "train" / "masks" / "000.tif"
    for values, said in (
        (np.full(SIZE, 0.5, np.float32), "has fractions"),
        (np.full(SIZE, np.nan, np.float32), "has fractions"),
        (np.full(SIZE, np.inf, np.float32), "has values up to inf"),
        (np.full(SIZE, -1, np.int32), "has values down to -1; a mask has classes from 0 to 253, or 255"),
    ):
        Image.fromarray(values).save(stored)
        with pytest.raises(UserError, match=rf"000\.tif: {said}"):
            first(tmp_path)
    Image.new("CMYK", SIZE[::-1]).save(stored)
    with pytest.raises(UserError, match=r"000\.tif: is stored as CMYK; a mask has one channel, a palette, RGB or RGBA"):
        first(tmp_path)


DAMAGED = {
    "empty": lambda _: b"",
    "text": lambda _: b"no image\n",
    "cut short": lambda data: data[: len(data) // 2],
    "a header alone": lambda data: data[:33],
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("class_list", [False, True])
def test_an_image_whose_mask_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, damage: str, class_list: bool
) -> None:
    write_mask_pairs(tmp_path, splits=("train",), class_list=class_list)
    path = tmp_path / MASK
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    dataset = READER.read(tmp_path)
    assert len(dataset.classes) == 3
    samples = dataset.splits["train"]
    with pytest.raises(DecodeError, match=r"its mask \(.*000\.png\) can't be read: ."):
        samples[0].truth(None)
    (batch,) = Loader(samples, [[(Patch(i, lambda _: np.eye(3)),) for i in range(4)]], SIZE, SIZE)
    assert len(batch) == 3
    assert [failure.id for failure in batch.failures] == [samples[0].id]
    for mask in (tmp_path / "train" / "masks").iterdir():
        mask.write_bytes(b"")
    if not class_list:
        with pytest.raises(UserError, match=r"none of 4 masks can be read; the first: its mask .*000\.png"):
            READER.read(tmp_path)


def test_an_image_whose_mask_is_of_another_size_is_left_out_and_named(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path, splits=("train",))
    sample = READER.read(tmp_path).splits["train"][0]
    assert sample.truth(None).index.shape == (1, *SIZE)
    with pytest.raises(DecodeError, match=r"its mask \(.*000\.png\) is 64x48, the image is 64x47; mend one"):
        sample.truth((47, 64))
    with pytest.raises(DecodeError, match="is 64x48, the image is 48x64, perhaps turned by its EXIF orientation"):
        sample.truth((64, 48))


def test_a_mask_of_a_photo_turned_by_exif_is_upright(tmp_path: Path) -> None:
    index = write_mask_pairs(tmp_path, splits=("train",))["train"]["train/images/000.jpg"]
    path = tmp_path / "train" / "images" / "000.jpg"
    image = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    image.save(path, exif=exif)
    samples = READER.read(tmp_path).splits["train"]
    (batch,) = Loader(samples, [[(Patch(0, lambda size: letterbox(size, SIZE)),)]], SIZE, SIZE)
    np.testing.assert_array_equal(batch.targets.index[0], index)


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


def test_without_a_list_classes_that_no_mask_has_and_masks_of_nothing_are_told(tmp_path: Path) -> None:
    written = write_mask_pairs(tmp_path, classes=("background", "a", "b", "c"), class_list=False, splits=("train",))
    for name, index in written["train"].items():
        index[index == 2] = 0
        save((tmp_path / name.replace("images", "masks")).with_suffix(".png"), index)
    save(tmp_path / MASK, np.full(SIZE, IGNORE, np.uint8))
    dataset = READER.read(tmp_path)
    assert [(flaw.path, flaw.what) for flaw in dataset.flaws] == [
        (tmp_path, "class 'class2' is in no mask: it can't be learned"),
        (tmp_path / MASK, "holds nothing but 255: its image counts nowhere"),
    ]
    assert dataset.negatives == {"train/images/000.jpg"}
    assert dataset.splits["train"][0].truth(SIZE).counts(4).tolist() == [0, 0, 0, 0]


def test_masks_of_values_are_told_from_those_of_colours(tmp_path: Path) -> None:
    write_mask_pairs(tmp_path)
    assert open_dataset(tmp_path, SEGMENT.readers).format == "mask-pairs"
    coloured = np.zeros((48, 64, 3), dtype=np.uint8)
    coloured[..., 1] = 1
    save(tmp_path / "train" / "masks" / "001.png", coloured)
    assert not READER.recognises(tmp_path)
    assert open_dataset(tmp_path, SEGMENT.readers).format == "colour-masks"
