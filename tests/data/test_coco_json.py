import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.factories import COCO_LAYOUTS, Object, coco_box, coco_image, save, texture, write_coco, write_coco_file
from vision_tasks.data.catalog import open_dataset, pick_split, split_remarks, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.coco_json import READER
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.tasks.detect import DETECT
from vision_tasks.types import Boxes, Sample

SIZE = (60, 80)
CLASSES = {1: "a", 2: "b"}


def objects(dataset: Dataset[Boxes], sample: Sample[Boxes], size: tuple[int, int] | None = SIZE) -> list[Object]:
    truth = sample.truth(size)
    return [
        (dataset.classes[label], tuple(xyxy))
        for label, xyxy in zip(truth.label[0].tolist(), truth.xyxy[0].tolist(), strict=True)
    ]


def contents(dataset: Dataset[Boxes], size: tuple[int, int] | None = SIZE) -> dict[str, dict[str, list[Object]]]:
    return {split: {s.id: objects(dataset, s, size) for s in v} for split, v in dataset.splits.items()}


def flaws(dataset: Dataset[Boxes]) -> list[str]:
    return [flaw.what for flaw in dataset.flaws]


def bare(path: Path, boxes: Sequence[dict[str, Any]], classes: dict[int, str] = CLASSES) -> Dataset[Boxes]:
    """A file of two images, 1.jpg and 2.jpg (ids 1 and 2), which are there."""
    for i in (1, 2):
        save(path / f"{i}.jpg", texture(SIZE, np.random.default_rng(i)))
    write_coco_file(path / "boxes.json", classes, [coco_image(i, f"{i}.jpg", SIZE) for i in (1, 2)], boxes)
    return READER.read(path / "boxes.json")


def changed(path: Path, **lists: object) -> Path:
    """The JSON file with some of its keys replaced; None takes one out."""
    content = json.loads(path.read_text()) | lists
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


@pytest.mark.parametrize("layout", COCO_LAYOUTS)
@pytest.mark.parametrize("splits", [("train",), ("test", "train", "val")])
def test_reads_what_was_written(tmp_path: Path, layout: str, splits: tuple[str, ...]) -> None:
    written = write_coco(tmp_path, splits=splits, layout=layout)
    dataset = open_dataset(tmp_path, DETECT.readers)
    assert dataset.format == "coco"
    assert contents(dataset) == written
    assert list(dataset.splits) == [split for split in ("train", "val", "test") if split in splits]
    assert (dataset.classes, dataset.class_ids, dataset.flaws) == (("a", "b"), (1, 2), ())
    assert all(s.path == tmp_path / s.id and s.path.is_file() for v in dataset.splits.values() for s in v)
    empty = {id for samples in written.values() for id, found in samples.items() if not found}
    assert dataset.negatives == empty
    assert len(empty) == 2 * len(splits)


def test_without_splits(tmp_path: Path) -> None:
    written = write_coco(tmp_path, splits=())
    assert contents(READER.read(tmp_path)) == written
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations.json").rename(tmp_path / "annotations" / "instances_default.json")
    assert contents(READER.read(tmp_path)) == written


def test_the_names_of_splits(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train", "valid"), images=3)
    assert list(READER.read(tmp_path).splits) == ["train", "val"]
    write_coco(tmp_path, splits=("train", "val"), images=3)
    with pytest.raises(UserError, match="val and valid are the same split"):
        READER.read(tmp_path)


def test_other_files_of_coco_are_passed_over(tmp_path: Path) -> None:
    written = write_coco(tmp_path, splits=("train", "val"), layout="coco 2017")
    for name in ("captions_val2017", "person_keypoints_val2017", "image_info_test2017"):
        (tmp_path / "annotations" / f"{name}.json").write_text("not even JSON")
    assert contents(READER.read(tmp_path)) == written
    write_coco_file(tmp_path / "annotations" / "instances_val2014.json", CLASSES, [], [])
    with pytest.raises(UserError, match=r"instances_val2014\.json and instances_val2017\.json are the same split"):
        READER.read(tmp_path)


@pytest.mark.parametrize("layout", COCO_LAYOUTS)
def test_a_bare_file_is_one_split_with_images_or_without(tmp_path: Path, layout: str) -> None:
    written = write_coco(tmp_path, splits=("train", "val"), layout=layout)["val"]
    path = tmp_path / COCO_LAYOUTS[layout][0].format(split="val")
    dataset = open_dataset(path, DETECT.readers)
    ends = {Path(id).name: found for id, found in written.items()}
    assert {s.path.name: objects(dataset, s) for s in pick_split(dataset, "test")} == ends
    assert all(s.path.is_file() for s in dataset.splits["val"])
    assert dataset.flaws == ()
    assert split_remarks(dataset, "test") == [f"{path.name} is one split: all of its 6 images are taken as 'test'"]
    for image in tmp_path.rglob("val_*.jpg"):
        image.unlink()
    dataset = READER.read(path)
    assert {s.path.name: objects(dataset, s, None) for s in pick_split(dataset, "test")} == ends
    assert re.fullmatch(
        r"lists 6 images, none of which is in .*: only stored predictions can be scored", *flaws(dataset)
    )
    assert sorted(dataset.image_ids.values()) == [95, 96, 97, 98, 99, 100]


@pytest.mark.parametrize(
    "classes",
    [{1: "a", 2: "b"}, {0: "a", 1: "b"}, {7: "a", 90: "b"}, {90: "b", 7: "a", 40: "c"}],
    ids=["from 1", "from 0", "sparse", "not in order"],
)
def test_category_ids_become_classes_in_their_order(tmp_path: Path, classes: dict[int, str]) -> None:
    written = write_coco(tmp_path, classes)
    dataset = READER.read(tmp_path)
    assert dataset.class_ids == tuple(sorted(classes))
    assert dataset.classes == tuple(classes[number] for number in sorted(classes))
    assert contents(dataset) == written


def test_images_keep_their_numbers_although_splits_repeat_them(tmp_path: Path) -> None:
    written = write_coco(tmp_path)
    assert READER.read(tmp_path).image_ids == {
        id: 100 - i for samples in written.values() for i, id in enumerate(samples)
    }


def test_boxes_are_those_that_pycocotools_loads(tmp_path: Path) -> None:
    luck = np.random.default_rng(0)
    corners = luck.uniform((0, 0), (60, 40), (200, 2)).round(2)
    boxes = [
        coco_box(i, int(luck.integers(1, 3)), int(luck.integers(1, 3)), [*map(float, corner), 7.25, 9.5], iscrowd=i % 2)
        for i, corner in enumerate(corners)
    ]
    assert_as_pycocotools(bare(tmp_path, boxes))


def assert_as_pycocotools(dataset: Dataset[Boxes], twice: int = 0) -> None:
    theirs = COCO(str(dataset.root))
    (samples,) = dataset.splits.values()
    assert sorted(dataset.image_ids.values()) == sorted(theirs.getImgIds())
    total = 0
    for sample in samples:
        rows = theirs.loadAnns(theirs.getAnnIds(imgIds=[dataset.image_ids[sample.id]]))
        total += len(rows)
        rows = list({(*row["bbox"], row["category_id"], row["iscrowd"]): row for row in rows}.values())
        xywh = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        truth = sample.truth(None)
        np.testing.assert_allclose(truth.xyxy[0], np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]), rtol=1e-6)
        assert [dataset.class_ids[label] for label in truth.label[0]] == [row["category_id"] for row in rows]
        assert truth.crowd[0].tolist() == [bool(row["iscrowd"]) for row in rows]
    assert total - twice == sum(len(sample.truth(None).label[0]) for sample in samples)


def test_a_super_category_without_boxes_is_no_class(tmp_path: Path) -> None:
    classes = {0: "things", 1: "a", 2: "b", 3: "never"}
    dataset = bare(tmp_path, [coco_box(1, 1, 1, (1, 1, 5, 5)), coco_box(2, 1, 2, (1, 1, 5, 5))], classes)
    assert (dataset.classes, dataset.class_ids) == (("a", "b", "never"), (1, 2, 3))
    assert flaws(dataset) == ["category 0 'things' has no annotation and only groups others: no class"]
    dataset = bare(tmp_path, [coco_box(1, 1, 0, (1, 1, 5, 5))], classes)
    assert (dataset.classes, flaws(dataset)) == (("things", "a", "b", "never"), [])


def test_a_super_category_with_a_box_in_any_split_is_a_class(tmp_path: Path) -> None:
    write_coco(tmp_path, {1: "a", 2: "things"}, images=1, splits=("train", "val"))
    dataset = READER.read(tmp_path)
    used = {name for split in contents(dataset).values() for found in split.values() for name, _ in found}
    assert "things" in used
    assert dataset.classes == ("a", "things")


@pytest.mark.parametrize(
    ("xywh", "left", "flaw"),
    [
        ([70, 50, 20, 20], (70, 50, 80, 60), "reaches outside the image of 80x60: clipped"),
        ([-5, 10, 20, 20], (0, 10, 15, 30), "reaches outside the image of 80x60: clipped"),
        ([80, 10, 5, 5], None, "lies outside the image of 80x60: dropped"),
        ([10, 10, 0, 5], None, "has no area: dropped"),
        ([10, 10, 5, -5], None, "has no area: dropped"),
        ([10, float("nan"), 5, 5], None, "has a corner that is no finite number: dropped"),
        ([10, 10, float("inf"), 5], None, "has a corner that is no finite number: dropped"),
    ],
)
def test_unusable_boxes_are_named(tmp_path: Path, xywh: list[float], left: tuple[int, ...] | None, flaw: str) -> None:
    dataset = bare(tmp_path, [coco_box(4, 1, 2, (1, 2, 3, 4)), coco_box(5, 1, 1, xywh)])
    assert contents(dataset)["all"]["1.jpg"] == [("b", (1, 2, 4, 6))] + ([("a", left)] if left else [])
    named = ", ".join(f"{value:g}" for value in xywh)
    assert flaws(dataset) == [f"annotation 5: a box ({named}) of 1.jpg {flaw}"]
    assert dataset.flaws[0].path == tmp_path / "boxes.json"


@pytest.mark.parametrize("bbox", [None, [], [1, 2, 3], [1, 2, 3, 4, 5], "1234", [1, 2, 3, "x"], [1, 2, 3, 10**400]])
def test_a_bbox_that_is_no_four_numbers_is_named(tmp_path: Path, bbox: object) -> None:
    dataset = bare(tmp_path, [coco_box(4, 1, 2, (1, 2, 3, 4)), coco_box(5, 1, 1, ()) | {"bbox": bbox}])
    assert len(contents(dataset)["all"]["1.jpg"]) == 1 + (bbox == "1234")  # whose letters are numbers
    if bbox != "1234":
        assert flaws(dataset) == ["annotation 5: its bbox for 1.jpg isn't four numbers: dropped"]


def test_a_box_that_is_listed_twice_is_kept_once(tmp_path: Path) -> None:
    dataset = bare(tmp_path, [coco_box(i, 1 + i // 2, 1, (1, 2, 3, 4)) for i in range(3)])
    assert [len(found) for found in contents(dataset)["all"].values()] == [1, 1]
    assert flaws(dataset) == ["annotation 1: a box (1, 2, 3, 4) of 1.jpg is listed twice: kept once"]


def test_an_annotation_for_an_unknown_image_is_named(tmp_path: Path) -> None:
    dataset = bare(tmp_path, [coco_box(4, 1, 2, (1, 2, 3, 4)), coco_box(5, 3, 1, (1, 2, 3, 4))])
    assert flaws(dataset) == ["annotation 5: is for image 3, which 'images' doesn't list: dropped"]
    assert [len(found) for found in contents(dataset)["all"].values()] == [1, 0]


def test_an_annotation_of_an_unknown_category_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"boxes\.json: annotation 5 is of the category 3, which 'categories' doesn't"):
        bare(tmp_path, [coco_box(5, 1, 3, (1, 2, 3, 4))])


def test_an_image_that_is_listed_and_missing_is_left_out_of_a_folder_and_kept_of_a_file(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train",), images=3)
    (tmp_path / "train" / "train_000.jpg").unlink()
    dataset = READER.read(tmp_path)
    assert [s.id for s in dataset.splits["train"]] == ["train/train_002.jpg", "train/train_001.jpg"]
    assert flaws(dataset) == ["image 100, train_000.jpg, is listed but missing: left out"]
    dataset = READER.read(tmp_path / "train" / "_annotations.coco.json")
    assert [s.id for s in dataset.splits["train"]] == ["train_002.jpg", "train_001.jpg", "train_000.jpg"]
    assert flaws(dataset) == [
        "image 100, train_000.jpg, is listed but missing: only a stored prediction of it can be scored"
    ]


def test_a_split_without_its_images_is_left_out_and_all_of_them_are_an_error(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train", "val"), layout="coco 2017", images=3)
    for image in (tmp_path / "train2017").iterdir():
        image.unlink()
    dataset = READER.read(tmp_path)
    assert list(dataset.splits) == ["val"]
    assert re.match(r"lists 3 images, none of which is in train2017/, .*: split 'train' is left out", *flaws(dataset))
    for image in (tmp_path / "val2017").iterdir():
        image.unlink()
    with pytest.raises(UserError, match="none of the images that its JSON files list is in train2017/"):
        READER.read(tmp_path)


def test_images_in_no_file_are_counted(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train",), images=3)
    save(tmp_path / "train" / "more.png", texture(SIZE, np.random.default_rng(0)))
    assert flaws(READER.read(tmp_path)) == ["1 images are in no annotation file: not read (more.png)"]


def test_an_image_in_two_splits_is_told(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train", "val"), layout="one folder", images=3)
    images = [coco_image(4, "train_000.jpg", SIZE), coco_image(5, "val_001.jpg", SIZE)]
    images.append(coco_image(6, "val_002.jpg", SIZE))
    changed(tmp_path / "val.json", images=images, annotations=[])
    dataset = READER.read(tmp_path)
    assert flaws(dataset)[-1] == "1 images of val are in train too (images/train_000.jpg)"
    assert dataset.image_ids["images/train_000.jpg"] == 100


@pytest.mark.parametrize("name", ["night/1.jpg", "night\\1.jpg", "./night/1.jpg", "night/1"])
def test_file_names_with_folders(tmp_path: Path, name: str) -> None:
    save(tmp_path / "images" / "night" / "1.jpg", texture(SIZE, np.random.default_rng(0)))
    save(tmp_path / "images" / "day" / "1.jpg", texture(SIZE, np.random.default_rng(0)))
    images = [coco_image(3, name, SIZE), coco_image(4, "day/1.jpg", SIZE)]
    write_coco_file(tmp_path / "annotations.json", CLASSES, images, [coco_box(1, 3, 1, (1, 2, 3, 4))])
    dataset = READER.read(tmp_path)
    assert dataset.image_ids == {"images/night/1.jpg": 3, "images/day/1.jpg": 4}
    assert contents(dataset)["all"]["images/night/1.jpg"] == [("a", (1, 2, 4, 6))]


def test_a_file_that_does_not_give_sizes_leaves_them_to_the_images(tmp_path: Path) -> None:
    bare(tmp_path, [coco_box(1, 1, 1, (70, 50, 20, 20))])
    changed(tmp_path / "boxes.json", images=[{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "gone.jpg"}])
    dataset = READER.read(tmp_path / "boxes.json")
    assert contents(dataset)["all"] == {"1.jpg": [("a", (70, 50, 80, 60))], "gone.jpg": []}


def test_boxes_for_another_size_than_the_images_are_no_truth(tmp_path: Path) -> None:
    dataset = bare(tmp_path, [])
    with pytest.raises(DecodeError, match=r"boxes\.json, 1\.jpg\) is for 80x60, the image is 60x80"):
        dataset.splits["all"][0].truth((80, 60))


def test_images_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    bare(tmp_path, [])
    listed = [coco_image(number, name, SIZE) for number, name in ((10, "1.jpg"), (9, "2.jpg"))]
    assert [s.id for s in READER.read(changed(tmp_path / "boxes.json", images=listed)).splits["all"]] == [
        "2.jpg",
        "1.jpg",
    ]


def test_crowds_alone_are_nothing_to_learn_from(tmp_path: Path) -> None:
    box = (5, 5, 20, 20)
    mixed = bare(
        tmp_path, [coco_box(1, 1, 1, box, iscrowd=1), coco_box(2, 2, 1, box, iscrowd=1), coco_box(3, 2, 2, box)]
    )
    assert mixed.negatives == {"1.jpg"}
    crowds = bare(tmp_path, [coco_box(i, i, 1, box, iscrowd=1) for i in (1, 2)])
    assert [s.truth(SIZE).crowd.tolist() for s in crowds.splits["all"]] == [[[True]], [[True]]]
    with pytest.raises(UserError, match="nothing usable is annotated in the 2 images of 'train'"):
        train_val(replace(crowds, splits={"train": crowds.splits["all"], "val": crowds.splits["all"]}))


@pytest.mark.parametrize(
    ("value", "crowd"), [(0, False), (1, True), (False, False), (True, True), ("0", False), ("1", True)]
)
def test_a_crowd_is_0_or_1(tmp_path: Path, value: object, crowd: bool) -> None:
    dataset = bare(tmp_path, [coco_box(1, 1, 1, (5, 5, 20, 20), iscrowd=value)])
    assert dataset.splits["all"][0].truth(SIZE).crowd.tolist() == [[crowd]]


@pytest.mark.parametrize("value", [2, -1, 0.5, "no", "", None, [1]])
def test_a_crowd_that_is_neither_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match=r"boxes\.json: 'iscrowd' of annotation 5 is .*, neither 0 nor 1"):
        bare(tmp_path, [coco_box(5, 1, 1, (5, 5, 20, 20), iscrowd=value)])


@pytest.mark.parametrize(
    ("area", "kept"), [(12.25, 12.25), (0, 0), (-1, np.nan), (np.inf, np.nan), ("9", np.nan), (None, np.nan)]
)
def test_areas_are_kept_where_they_are_any(tmp_path: Path, area: object, kept: float) -> None:
    dataset = bare(tmp_path, [coco_box(1, 1, 1, (5, 5, 20, 20), area=area)])
    found = dataset.splits["all"][0].truth(SIZE).area
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), [[kept]])


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    dataset = bare(tmp_path, [coco_box(1, 1, 1, (0.1, 0.2, 10.3, 20.7))])
    assert dataset.splits["all"][0].truth(SIZE).xyxy.tolist() == [[[0.1, 0.2, 0.1 + 10.3, 0.2 + 20.7]]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "can't be read as JSON"),
        ("{", "can't be read as JSON"),
        ("[" * 100_000, "can't be read as JSON"),
        ("\udcff", "can't be read as JSON"),
        ('"text"', "is no COCO annotation file but a value"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "--predictions takes those"),
        ("{}", "no list of objects 'images'"),
        ('{"images": [], "categories": {}}', "no list of objects 'categories'"),
        ('{"images": [], "categories": [], "annotations": [1]}', "no list of objects 'annotations'"),
        ('{"images": [], "categories": [], "annotations": []}', "'categories' is empty"),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": []}', "'images' is empty"),
    ],
)
def test_json_that_is_no_coco(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(UserError, match=rf"some\.json: .*{reason}") as error:
        open_dataset(path, DETECT.readers)
    assert "\n" not in str(error.value)


IMAGE, BOX = coco_image(1, "1.jpg", SIZE), coco_box(1, 1, 1, (1, 2, 3, 4))
CATEGORY = {"id": 1, "name": "a"}


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"images": [IMAGE, IMAGE]}, "the image id 1 is there twice"),
        ({"images": [IMAGE, IMAGE | {"id": 2}]}, "the images 1 and 2 are both 1.jpg"),
        ({"images": [IMAGE, IMAGE | {"id": 2, "file_name": "./1.jpg"}]}, "the images 1 and 2 are both"),
        ({"images": [IMAGE | {"id": "1"}]}, "'id' of image is '1', no whole number"),
        ({"images": [IMAGE | {"id": True}]}, "'id' of image is 'True', no whole number"),
        ({"images": [{"id": 1}]}, "image 1 has no 'file_name'"),
        ({"images": [IMAGE | {"file_name": "../1.jpg"}]}, r"file_name of image 1: '\.\./1\.jpg' is no path below"),
        ({"images": [IMAGE | {"file_name": "/etc/1.jpg"}]}, "file_name of image 1: '/etc/1.jpg' is no path below"),
        ({"categories": [CATEGORY, CATEGORY]}, "the category id 1 is there twice"),
        ({"categories": [CATEGORY, CATEGORY | {"id": 2}]}, "the categories 1 and 2 are both called 'a'"),
        ({"categories": [{"name": "a"}]}, "'id' of category is missing"),
        ({"categories": [{"id": 1}]}, "category 1 has no 'name'"),
        ({"annotations": [BOX, BOX]}, "the id of annotation 1 is there twice"),
        ({"annotations": [BOX | {"image_id": None}]}, "'image_id' of annotation 1 is 'None', no whole number"),
        ({"annotations": [{"image_id": 1}]}, "'category_id' of annotation number 1 is missing"),
    ],
)
def test_entries_that_are_not_understood(tmp_path: Path, lists: dict[str, object], reason: str) -> None:
    bare(tmp_path, [coco_box(1, 1, 1, (1, 2, 3, 4))])
    with pytest.raises(UserError, match=rf"boxes\.json: .*{reason}"):
        READER.read(changed(tmp_path / "boxes.json", **lists))


@pytest.mark.parametrize("other", [{1: "b", 2: "a"}, {1: "a", 3: "b"}, {1: "a", 2: "c"}])
def test_splits_that_disagree_on_categories_are_an_error(tmp_path: Path, other: dict[int, str]) -> None:
    write_coco(tmp_path, splits=("train", "val"))
    categories = [{"id": number, "name": name} for number, name in other.items()]
    changed(tmp_path / "val" / "_annotations.coco.json", categories=categories, annotations=[])
    with pytest.raises(UserError, match=r"but in .* category \d is '\w'; splits need the same ids"):
        READER.read(tmp_path)


def test_splits_may_list_fewer_categories(tmp_path: Path) -> None:
    write_coco(tmp_path, splits=("train", "val"))
    changed(tmp_path / "val" / "_annotations.coco.json", categories=[{"id": 2, "name": "b"}], annotations=[])
    assert READER.read(tmp_path).class_ids == (1, 2)


@pytest.fixture(scope="module")
def chess(shared_data: Path) -> Dataset[Boxes]:
    return open_dataset(shared_data / "detect-chess-coco", DETECT.readers)


@pytest.mark.shared
def test_chess_as_its_readme_says(chess: Dataset[Boxes]) -> None:
    size = (1371, 2048)
    assert {split: len(samples) for split, samples in chess.splits.items()} == {"train": 26, "val": 7, "test": 7}
    found = contents(chess, size)
    counts = {split: sum(map(len, samples.values())) for split, samples in found.items()}
    assert counts == {"train": 257 - 1, "val": 83, "test": 119}
    assert len(chess.classes) == 12 + 1
    assert chess.class_ids == tuple(range(1, 14))
    assert flaws(chess)[0] == "category 0 'pieces' has no annotation and only groups others: no class"
    (twice,) = flaws(chess)[1:]
    assert re.match(r"annotation 1325: white-rook box \(.*\) of 26d663ab5ffbec49.*is listed twice: kept once", twice)
    bishops = [
        (split, id) for split, v in found.items() for id, each in v.items() for name, _ in each if name == "bishop"
    ]
    assert [(split, id[:36]) for split, id in bishops] == [("train", "train/f1ea0167087976926d4fe0aa36b961")]
    assert [id[:37] for id in chess.negatives] == ["test/e0d38d159ad3a801d0304d7e275812cc"]
    per_class = Counter(name for v in found.values() for each in v.values() for name, _ in each)
    assert sum(per_class.values()) == 256 + 83 + 119
    assert set(per_class) == set(chess.classes)


@pytest.mark.shared
@pytest.mark.parametrize(("split", "twice"), [("train", 1), ("valid", 0), ("test", 0)])
def test_chess_as_pycocotools_reads_it(shared_data: Path, split: str, twice: int) -> None:
    path = shared_data / "detect-chess-coco" / split / "_annotations.coco.json"
    assert_as_pycocotools(READER.read(path), twice)
