import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as judge
from pycocotools.coco import COCO

from tests.factories import COCO_LAYOUTS, coco_box, coco_image, save, texture, write_coco, write_coco_file
from vision_tasks.data.catalog import open_dataset, pick_split, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE, Masks

SIZE = (60, 80)
CLASSES = {1: "a", 2: "b"}


def outlined(number: int, image: int, category: int, outline: Any, **more: Any) -> dict[str, object]:
    return coco_box(number, image, category, (0, 0, 1, 1), segmentation=outline, **more)


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def bare(path: Path, annotations: Sequence[dict[str, Any]], classes: dict[int, str] = CLASSES) -> Dataset[Masks]:
    """A file of two images, 1.jpg and 2.jpg (ids 1 and 2), which are there."""
    for i in (1, 2):
        save(path / f"{i}.jpg", texture(SIZE, np.random.default_rng(i)))
    write_coco_file(path / "outlines.json", classes, [coco_image(i, f"{i}.jpg", SIZE) for i in (1, 2)], annotations)
    return open_dataset(path / "outlines.json", SEGMENT.readers)


def index(dataset: Dataset[Masks], number: int = 0) -> np.ndarray:
    return pick_split(dataset, "all")[number].truth(SIZE).index[0].numpy()


def what(dataset: Dataset[Masks]) -> list[str]:
    return [flaw.what for flaw in dataset.flaws]


@pytest.mark.parametrize("layout", COCO_LAYOUTS)
def test_every_layout_of_boxes_is_one_of_masks(tmp_path: Path, layout: str) -> None:
    """The boxes of a set, written as outlines too, come back as rectangles."""
    written = write_coco(tmp_path, layout=layout)
    for path in tmp_path.rglob("*.json"):
        content = json.loads(path.read_text())
        for row in content["annotations"]:
            x, y, width, height = row["bbox"]
            row["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        path.write_text(json.dumps(content))
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert (dataset.format, dataset.classes, dataset.flaws) == ("coco", ("background", "a", "b"), ())
    assert {split: [sample.id for sample in samples] for split, samples in dataset.splits.items()} == {
        split: sorted(samples, reverse=True) for split, samples in written.items()
    }
    for split, samples in dataset.splits.items():
        for sample in samples:
            expected = np.zeros(SIZE, np.uint8)
            for name, (x0, y0, x1, y1) in written[split][sample.id]:
                expected[int(y0) : int(y1), int(x0) : int(x1)] = dataset.classes.index(name)
            np.testing.assert_array_equal(sample.truth(SIZE).index[0], expected)
            np.testing.assert_array_equal(sample.truth(None).index[0], expected)
            assert (sample.id in dataset.negatives) == (not expected.any())


def test_masks_are_those_that_pycocotools_paints(tmp_path: Path) -> None:
    luck = np.random.default_rng(0)
    annotations = []
    for i in range(30):
        points = luck.uniform((-10, -10), (90, 70), (luck.integers(3, 8), 2)).round(2)
        outline: Any = [points.ravel().tolist()]
        if i % 3 == 1:
            blob = np.asfortranarray(luck.random(SIZE) < 0.05, np.uint8)
            outline = {"size": [*SIZE], "counts": judge.encode(blob)["counts"].decode()}
        annotations.append(outlined(i, 1 + i % 2, 1 + i % 5 // 3, outline))
    dataset = bare(tmp_path, annotations)
    theirs = COCO(str(tmp_path / "outlines.json"))
    for number, image in enumerate((1, 2)):
        rows = theirs.loadAnns(theirs.getAnnIds(imgIds=[image]))
        painted = [(row["category_id"], theirs.annToMask(row).astype(bool)) for row in rows]
        expected = np.zeros(SIZE, np.uint8)
        for category, inside in sorted(painted, key=lambda one: -one[1].sum()):
            expected[inside] = category
        np.testing.assert_array_equal(index(dataset, number), expected)
        assert len(np.unique(expected)) == 3


def test_small_objects_are_seen_on_large_ones(tmp_path: Path) -> None:
    """Whatever their order and the areas that the file claims; of two alike the later one wins."""
    small, large = square(10, 10, 4), square(5, 5, 20)
    for order in ([(1, small), (2, large)], [(2, large), (1, small)]):
        seen = index(bare(tmp_path, [outlined(i, 1, c, o, area=99 * c) for i, (c, o) in enumerate(order)]))
        assert (seen[10:14, 10:14] == 1).all()
        assert (seen == 1).sum() == 16
        assert (seen == 2).sum() == 400 - 16
    assert (index(bare(tmp_path, [outlined(1, 1, 1, small), outlined(2, 1, 2, small)])) == 2).sum() == 16


def test_crowds_are_ignored_but_for_objects_within(tmp_path: Path) -> None:
    crowd = {"size": [*SIZE], "counts": [0, 60 * 10, 60 * 70]}  # the left ten columns
    objects = [outlined(1, 1, 1, square(2, 2, 4)), outlined(3, 2, 2, square(1, 1, 3))]
    dataset = bare(tmp_path, [*objects, outlined(2, 1, 1, crowd, iscrowd=1)])
    assert what(dataset) == ["1 regions of crowds count nowhere, but for objects within them"]
    expected = np.zeros(SIZE, np.uint8)
    expected[:, :10] = IGNORE
    expected[2:6, 2:6] = 1
    np.testing.assert_array_equal(index(dataset), expected)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({7: "a", 90: "b"}, ("background", "a", "b")),
        ({0: "b", 3: "a"}, ("background", "b", "a")),
        ({1: "a", 5: "Background", 9: "b"}, ("Background", "a", "b")),
    ],
)
def test_classes_and_the_background(tmp_path: Path, classes: dict[int, str], expected: tuple[str, ...]) -> None:
    ids = {name: number for number, name in classes.items()}
    objects = [outlined(1, 1, ids["a"], square(0, 0, 9)), outlined(2, 1, ids["b"], square(20, 20, 9))]
    dataset = bare(tmp_path, objects, classes)
    assert (dataset.classes, dataset.flaws) == (expected, ())
    seen = index(dataset)
    assert (seen[4, 4], seen[24, 24], seen[50, 50]) == (expected.index("a"), expected.index("b"), 0)


def test_outlines_that_cannot_be_used_are_named_and_counted(tmp_path: Path) -> None:
    dataset = bare(
        tmp_path,
        [
            outlined(1, 1, 1, square(1, 1, 5)),
            outlined(2, 1, 2, [[1, 1, 5, 5]]),
            outlined(3, 1, 2, {"size": [10, 10], "counts": [100]}),
            coco_box(4, 2, 2, (1, 1, 5, 5)),
            outlined(5, 3, 2, square(1, 1, 5)),
            outlined(6, 2, 1, [[1, 1, 5, 5], *square(1, 1, 5)]),
        ],
    )
    assert what(dataset) == [
        "annotation 2: b outline of 1.jpg has 2 points, and a polygon needs three: dropped",
        "annotation 3: b outline of 1.jpg has run lengths for 10x10, the image is 80x60: dropped",
        "annotation 4: b outline of 2.jpg is missing: dropped",
        "annotation 5: is for image 3, which 'images' doesn't list: dropped",
        "annotation 6: a outline of 2.jpg has 2 points, and a polygon needs three: dropped; "
        "1 of its 2 polygons are left",
        "class 'b' has no outline: it can't be learned",
    ]
    assert [flaw.of_truth for flaw in dataset.flaws] == [True] * 5 + [False]
    assert dataset.negatives == frozenset()


def test_a_file_without_outlines_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"outlines\.json: has no outline \('segmentation'\) that could be drawn"):
        bare(tmp_path, [coco_box(4, 2, 2, (1, 1, 5, 5))])


def test_an_image_of_another_size_is_left_out_and_named(tmp_path: Path) -> None:
    sample = pick_split(bare(tmp_path, [outlined(1, 1, 1, square(1, 1, 5))]), "all")[0]
    with pytest.raises(
        DecodeError, match=r"its annotation \(.*outlines\.json, 1\.jpg\) is for 80x60, the image is 60x8"
    ):
        sample.truth((8, 60))


def test_without_a_size_in_the_file_it_is_the_images(tmp_path: Path) -> None:
    bare(tmp_path, [outlined(1, 1, 1, square(1, 1, 5))])
    content = json.loads((tmp_path / "outlines.json").read_text())
    content["images"] = [{"id": 1, "file_name": "1.jpg"}]
    (tmp_path / "outlines.json").write_text(json.dumps(content))
    (sample,) = pick_split(open_dataset(tmp_path / "outlines.json", SEGMENT.readers), "all")
    for size in (None, SIZE):
        truth = sample.truth(size)
        assert truth.index.shape == (1, *SIZE)
        assert truth.counts(3).tolist() == [SIZE[0] * SIZE[1] - 25, 25, 0]


def without_sizes(path: Path) -> None:
    content = json.loads(path.read_text())
    for row in content["images"]:
        del row["height"], row["width"]
    path.write_text(json.dumps(content))


def test_without_a_size_in_the_file_run_lengths_for_several_are_told(tmp_path: Path) -> None:
    fitting = {"size": [*SIZE], "counts": [0, 60, 60 * 79]}
    other = {"size": [10, 10], "counts": [0, 100]}
    bare(tmp_path, [outlined(i, 1 + (i > 2), 1 + i % 2, [other, fitting][i % 2]) for i in (1, 2, 4, 5)])
    without_sizes(tmp_path / "outlines.json")
    dataset = open_dataset(tmp_path / "outlines.json", SEGMENT.readers)
    assert what(dataset) == [
        "annotation 2: a outline of 1.jpg has run lengths for 10x10, the image is 80x60: dropped",
        "annotation 5: b outline of 2.jpg has run lengths for 80x60, the image is 10x10: dropped",
    ]
    expected = np.zeros(SIZE, np.uint8)
    expected[:, 0] = 2
    np.testing.assert_array_equal(index(dataset), expected)
    with pytest.raises(DecodeError, match=r"its annotation \(.*2\.jpg\) is for 10x10, the image is 80x60; mend one"):
        index(dataset, 1)


def test_a_size_that_cannot_be_is_none_of_memory(tmp_path: Path) -> None:
    bare(tmp_path, [outlined(1, 1, 1, square(1, 1, 5))])
    content = json.loads((tmp_path / "outlines.json").read_text())
    content["images"][0].update(height=300_000, width=300_000)
    (tmp_path / "outlines.json").write_text(json.dumps(content))
    sample = pick_split(open_dataset(tmp_path / "outlines.json", SEGMENT.readers), "all")[0]
    with pytest.raises(DecodeError, match=r"1\.jpg\) is for 300000x300000, more than 268435456 pixels; mend it, or"):
        sample.truth(None)


def test_painting_holds_the_pixels_of_one_outline_at_once(tmp_path: Path) -> None:
    """Ten outlines of the whole image take no more memory than one."""
    height, width = 500, 500

    def peak(count: int) -> int:
        annotations = [
            outlined(i, 1, 1, {"size": [height, width], "counts": [0, height * width]}) for i in range(count)
        ]
        write_coco_file(tmp_path / "a.json", CLASSES, [coco_image(1, "1.jpg", (height, width))], annotations)
        sample = pick_split(open_dataset(tmp_path / "a.json", SEGMENT.readers), "all")[0]
        tracemalloc.start()
        assert (sample.truth(None).index == 1).all()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(10) < 1.2 * peak(1)


def test_images_without_objects_are_background_and_a_set_of_them_cannot_be_trained_on(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train", "val"))
    for split in ("train", "val"):
        path = tmp_path / split / "_annotations.coco.json"
        content = json.loads(path.read_text())
        for row in content["annotations"]:
            row["segmentation"] = square(1, 1, 5)
        content["annotations"] = content["annotations"] if split == "val" else []
        path.write_text(json.dumps(content))
    dataset = open_dataset(tmp_path, SEGMENT.readers)
    assert not dataset.splits["train"][0].truth(SIZE).index.any()
    with pytest.raises(UserError, match="nothing usable is annotated in the 6 images of 'train'"):
        train_val(dataset)
