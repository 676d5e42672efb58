from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.factories import in_colours, save, write_colour_masks, write_mask_pairs
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.readers.colour_masks import READER
from vision_tasks.data.readers.mask_legend import voc_colour
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE

SIZE = (48, 64)
COLOURS = {"background": (0, 0, 0), "a": (128, 0, 64), "b": (64, 0, 128)}
MASK = Path("train/masks/000.png")


def first(root: Path) -> np.ndarray:
    return READER.read(root).splits["train"][0].truth(SIZE).index[0].numpy()


@pytest.mark.parametrize("splits", [(), ("train", "val", "test")])
@pytest.mark.parametrize("class_list", ["classes.csv", "class_dict.csv", "label_colors.txt"])
def test_reads_what_was_written(tmp_path: Path, splits: tuple[str, ...], class_list: str) -> None:
    written = write_colour_masks(tmp_path, class_list=class_list, splits=splits)
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("colour-masks", tuple(COLOURS), ())
    for split, samples in dataset.splits.items():
        assert [sample.id for sample in samples] == list(written[split])
        for sample in samples:
            truth = sample.truth(SIZE)
            assert (truth.index.dtype, truth.num_classes) == (torch.uint8, 3)
            np.testing.assert_array_equal(truth.index[0], written[split][sample.id])


@pytest.mark.parametrize(
    "text",
    [
        "background,0,0,0\na,128,0,64\nb,64,0,128\n",
        "r,g,b,name\n0,0,0,background\n128,0,64,a\n64,0,128,b\n",
        "\ufeffClass, Red, Green, Blue\nbackground, 0, 0, 0\n\na, 128, 0, 64\nb, 64, 0, 128\n",
        "\ufeffname;r;g;b\r\nbackground;0;0;0\r\na;128;0;64\r\nb;64;0;128\r\n",
        "background;0;0;0\na;128;0;64\nb;64;0;128\n",
        "name\tr\tg\tb\n# ours\nbackground\t0\t0\t0\na\t128\t0\t64\nb\t64\t0\t128\n",
        "id,name,r,g,b\n1000,a,128,0,64\n2000,b,64,0,128\n7,background,0,0,0\n",
    ],
)
def test_forms_of_the_list(tmp_path: Path, text: str) -> None:
    written = write_colour_masks(tmp_path)
    (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
    assert READER.read(tmp_path).classes == tuple(COLOURS)
    np.testing.assert_array_equal(first(tmp_path), written["train"]["train/images/000.jpg"])


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB grey"])
def test_a_mask_is_its_colours_however_it_is_stored(tmp_path: Path, mode: str) -> None:
    colours = {"background": (0, 0, 0), "a": (255, 255, 255), "b": (7, 7, 7)} if mode == "RGB grey" else COLOURS
    index = write_colour_masks(tmp_path, colours)["train"]["train/images/000.jpg"]
    image = Image.fromarray(in_colours(index, colours))
    if mode == "RGBA":
        image.putalpha(Image.fromarray((index * 100).astype(np.uint8)))
    elif mode == "P":
        image = image.quantize(8, dither=Image.Dither.NONE)
        assert image.mode == "P"
    image.save(tmp_path / MASK)
    assert open_dataset(tmp_path, SEGMENT.readers).format == "colour-masks"
    np.testing.assert_array_equal(first(tmp_path), index)


def quantised(index: np.ndarray, order: tuple[int, ...], colours: dict[str, tuple[int, int, int]]) -> Image.Image:
    """Class indices as a palette of the classes' colours in another `order`."""
    image = Image.fromarray(np.uint8(np.argsort(order))[index], mode="P")
    image.putpalette([channel for each in order for channel in list(colours.values())[each]])
    return image


@pytest.mark.parametrize("quantise", ["Pillow", "in another order", "in orders that differ"])
def test_a_set_of_palettes_is_its_colours_if_the_list_has_them_in_another_order(tmp_path: Path, quantise: str) -> None:
    colours = {"background": (0, 0, 0), "a": (128, 64, 128), "b": (0, 0, 142)}
    written = write_colour_masks(tmp_path, colours, splits=("train", "val"))
    for split in written.values():
        for i, (name, index) in enumerate(split.items()):
            if quantise == "Pillow":
                image = Image.fromarray(in_colours(index, colours)).quantize(8, dither=Image.Dither.NONE)
            else:
                image = quantised(index, (2, 0, 1) if i % 2 and quantise != "in another order" else (1, 0, 2), colours)
            image.save((tmp_path / name.replace("images", "masks")).with_suffix(".png"))
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.flaws) == ("colour-masks", ())
    for split, samples in dataset.splits.items():
        for sample in samples:
            np.testing.assert_array_equal(sample.truth(SIZE).index[0], written[split][sample.id])


def test_palettes_of_the_lists_own_order_or_of_other_colours_are_indices(tmp_path: Path) -> None:
    index = write_colour_masks(tmp_path, splits=("train",), images=1)["train"]["train/images/000.jpg"]
    index[0] = IGNORE
    others = {**COLOURS, "b": (1, 2, 3)}
    for colours, order in ((COLOURS, (0, 1, 2)), (others, (1, 0, 2))):
        image = Image.fromarray(index, mode="P")
        palette = [channel for each in order for channel in list(colours.values())[each]]
        image.putpalette(palette + [0, 0, 0] * 253)
        image.save(tmp_path / MASK)
        dataset = open_dataset(tmp_path, SEGMENT.readers)
        assert dataset.format == "mask-pairs"
        np.testing.assert_array_equal(dataset.splits["train"][0].truth(SIZE).index[0], index)


def test_a_late_palette_that_contradicts_the_list_is_an_error(tmp_path: Path) -> None:
    """Four masks of background alone tell nothing."""
    written = write_colour_masks(tmp_path, splits=("train",), images=5)["train"]
    for name, index in written.items():
        seen = index if name.endswith("004.jpg") else np.zeros_like(index)
        quantised(seen, (0, 2, 1), COLOURS).save(tmp_path / name.replace("images", "masks").replace("jpg", "png"))
    samples = open_dataset(tmp_path, SEGMENT.readers).splits["train"]
    assert not samples[0].truth(SIZE).index.any()
    with pytest.raises(
        UserError, match=r"004\.png: its palette has the class list's colours .* --data-format colour-m"
    ):
        samples[4].truth(SIZE)
    forced = open_dataset(tmp_path, SEGMENT.readers, "colour-masks").splits["train"]
    np.testing.assert_array_equal(forced[4].truth(SIZE).index[0], written["train/images/004.jpg"])


def test_grey_of_one_channel_is_a_colour_if_the_list_has_it_as_nothing_else(tmp_path: Path) -> None:
    colours = {"a": (0, 0, 0), "b": (128, 128, 128), "c": (200, 200, 200)}
    written = write_colour_masks(tmp_path, colours, splits=("train",), images=5)["train"]
    for name, index in written.items():
        save((tmp_path / name.replace("images", "masks")).with_suffix(".png"), np.uint8([0, 128, 200])[index])
    samples = open_dataset(tmp_path, SEGMENT.readers).splits["train"]
    for sample in samples:
        np.testing.assert_array_equal(sample.truth(SIZE).index[0], written[sample.id])
    for i in range(4):
        save(tmp_path / "train" / "masks" / f"{i:03}.png", np.zeros(SIZE, np.uint8))
    late = open_dataset(tmp_path, SEGMENT.readers).splits["train"][4]
    with pytest.raises(
        UserError, match=r"004\.png: has the values .*; .*--data-format colour-masks reads them by colour"
    ):
        late.truth(SIZE)


def test_a_format_can_be_forced(tmp_path: Path) -> None:
    """Grey masks with a list of colours are values, unless it is said that they are colours."""
    index = write_mask_pairs(tmp_path, class_list=False)["train"]["train/images/000.jpg"]
    (tmp_path / "classes.csv").write_text("name,r,g,b\nx,2,2,2\ny,1,1,1\nz,0,0,0\n")
    assert open_dataset(tmp_path, SEGMENT.readers).format == "mask-pairs"
    forced = open_dataset(tmp_path, SEGMENT.readers, "colour-masks").splits["train"][0].truth(SIZE)
    np.testing.assert_array_equal(forced.index[0], 2 - index)


@pytest.mark.parametrize("void", ["void", "Unlabelled"])
def test_void_is_ignored_by_its_name(tmp_path: Path, void: str) -> None:
    colours = {"background": (0, 0, 0), void: (128, 0, 64), "b": (64, 0, 128)}
    index = write_colour_masks(tmp_path, colours)["train"]["train/images/000.jpg"]
    assert READER.read(tmp_path).classes == ("background", "b")
    np.testing.assert_array_equal(first(tmp_path), np.uint8([0, IGNORE, 1])[index])


def test_colours_of_pascal_voc(tmp_path: Path) -> None:
    """The published ones (VOC2012 development kit): aeroplane, bicycle, bird, tv monitor, border."""
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {n: (voc_colour(n) & 255, voc_colour(n) >> 8 & 255, voc_colour(n) >> 16) for n in expected} == expected
    assert len({voc_colour(number) for number in range(256)}) == 256


def test_without_colours_in_the_list_they_are_those_of_pascal_voc(tmp_path: Path) -> None:
    colours = {"ground": (0, 0, 0), "plane": (128, 0, 0), "bicycle": (0, 128, 0)}
    index = write_colour_masks(tmp_path, colours, class_list="classes.txt")["train"]["train/images/000.jpg"]
    (tmp_path / "classes.txt").write_text("ground\nplane\nbicycle\n")
    mask = in_colours(index, colours)
    mask[0] = (224, 224, 192)
    save(tmp_path / MASK, mask)
    index[0] = IGNORE
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.classes) == ("colour-masks", tuple(colours))
    assert [flaw.what for flaw in dataset.flaws] == [
        "gives no colours, but the masks have some: read by those of Pascal VOC"
    ]
    np.testing.assert_array_equal(first(tmp_path), index)


def test_a_colour_that_is_no_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    index = write_colour_masks(tmp_path)["train"]["train/images/000.jpg"]
    mask = in_colours(index, COLOURS)
    mask[0, :2], mask[1, :5] = (1, 2, 3), (255, 255, 255)
    save(tmp_path / MASK, mask)
    with pytest.raises(
        UserError,
        match=r"000\.png: has the colours \(255,255,255\) \(5 pixels\), \(1,2,3\) \(2 pixels\), which are none of",
    ):
        first(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,r,g,b\na,1,2,3\nb,1,2,3\nc,0,0,0\n", r"\(1,2,3\) stands in it more than once"),
        ("name,r,g,b\na,1,2,3\na,1,2,4\n", "a stands in it more than once"),
        ("name,r,g,b\na,1,2,3\nb,1,2,300\n", "the colour of b is '1,2,300'; it takes r,g,b"),
        ("name,r,g,b\na,1,2,3\nb,1,2,x\n", "the colour of b is '1,2,x'"),
        ("name,r,g,b\na,1,2,3\nb,1,2\n", "the colour of b is '1,2'"),
        ("r,g,b,name\n1,2,3,a\n1,2\n", "line 3: has no name of a class; write one"),
        ("id,name,r,g,b\n1,a,1,2,3\nx,b,3,2,1\n", "line 3: the value of b is 'x', no whole number from 0 on"),
        ("name,r,g,b\n" + "a" * 200_000 + ",1,2,3\n", r"line \d: can't be read as CSV: field larger than"),
        ("name,r,g,b\na,1,2,3\nb\n", "b has no colour, but the masks have colours"),
        ("name,r,g,b\na,1,2,3\nvoid,0,0,0\n", "lists 1 classes"),
        ("name,r,g,b\n" + "".join(f"c{i},{i},0,1\n" for i in range(255)), "masks hold 254 classes"),
    ],
)
def test_lists_that_cannot_be_are_errors(tmp_path: Path, text: str, reason: str) -> None:
    write_colour_masks(tmp_path)
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(UserError, match=rf"classes\.csv[:,] {reason}"):
        READER.read(tmp_path)


def test_a_line_that_is_no_colour_and_name_is_an_error(tmp_path: Path) -> None:
    write_colour_masks(tmp_path, class_list="label_colors.txt")
    (tmp_path / "label_colors.txt").write_text("0 0 0 background\n128 0 64\n")
    with pytest.raises(UserError, match=r"label_colors\.txt: '128 0 64' isn't of the form `r g b name`"):
        READER.read(tmp_path)


def test_a_damaged_mask_or_one_of_another_size_is_left_out_and_named(tmp_path: Path) -> None:
    write_colour_masks(tmp_path)
    sample = READER.read(tmp_path).splits["train"][0]
    with pytest.raises(DecodeError, match=r"000\.png\) is 64x48, the image is 10x10"):
        sample.truth((10, 10))
    (tmp_path / MASK).write_bytes((tmp_path / MASK).read_bytes()[:100])
    with pytest.raises(DecodeError, match=r"000\.png\) can't be read"):
        sample.truth(SIZE)


def test_a_list_is_needed(tmp_path: Path) -> None:
    write_colour_masks(tmp_path)
    (tmp_path / "classes.csv").unlink()
    assert not READER.recognises(tmp_path)
    with pytest.raises(UserError, match=r"000\.png: has colours; .* classes\.csv must say name,r,g,b"):
        open_dataset(tmp_path, SEGMENT.readers)
