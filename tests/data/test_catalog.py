import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import write_coco, write_folder_per_class, write_table, write_voc, write_yolo
from vision_tasks.data.catalog import open_dataset, pick_split, split_remarks, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers import csv_labels, folder_per_class, pascal_voc
from vision_tasks.errors import UserError
from vision_tasks.tasks.detect import DETECT
from vision_tasks.types import Labels, Sample

READERS = [pascal_voc.READER, folder_per_class.READER]


def dataset(**splits: list[str]) -> Dataset[Labels]:
    """Samples of the given ids; what stands before the / is the stratum."""
    made = {
        split: tuple(Sample(i, Path(i), lambda: Labels.one_hot(0, 2), stratum=i.rpartition("/")[0]) for i in ids)
        for split, ids in splits.items()
    }
    return Dataset(Path("/data/birds"), "made up", ("a", "b"), made)


def ids(samples: tuple[Sample[Labels], ...]) -> list[str]:
    return [sample.id for sample in samples]


def test_opens_what_a_reader_recognises(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc")
    write_folder_per_class(tmp_path / "folders")
    assert open_dataset(tmp_path / "voc", READERS).format == "pascal-voc"
    assert open_dataset(tmp_path / "folders", READERS).format == "folder-per-class"
    assert open_dataset(tmp_path / "folders", READERS, "folder-per-class").format == "folder-per-class"


def test_a_path_that_is_no_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        open_dataset(tmp_path / "missing", READERS)
    (tmp_path / "file.jpg").touch()
    with pytest.raises(UserError, match="is a file"):
        open_dataset(tmp_path / "file.jpg", READERS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder is empty"):
        open_dataset(tmp_path / "empty", READERS)
    with pytest.raises(UserError, match=r"pascal-voc: JPEGImages.*folder-per-class: a folder for each class"):
        open_dataset(tmp_path, READERS)


def test_a_format_that_is_asked_for(tmp_path: Path) -> None:
    write_voc(tmp_path)
    with pytest.raises(UserError, match="did you mean pascal-voc"):
        open_dataset(tmp_path, READERS, "pascal")
    with pytest.raises(UserError, match="expected folder-per-class"):
        open_dataset(tmp_path, READERS, "folder-per-class")


def test_splits_of_the_data_are_taken_as_they_are() -> None:
    data = dataset(train=["a/1", "b/1"], val=["a/2"], test=["b/2", "a/3"])
    assert ids(pick_split(data, "test")) == ["b/2", "a/3"]
    assert (
        ids(pick_split(data, "valid")) == ids(pick_split(data, "validation")) == ids(pick_split(data, "val")) == ["a/2"]
    )
    assert ids(pick_split(data, "all")) == ["a/1", "b/1", "a/2", "b/2", "a/3"]
    train, val, said = train_val(data)
    assert (ids(train), ids(val), said) == (["a/1", "b/1"], ["a/2"], [])


def test_all_takes_an_image_once() -> None:
    assert ids(pick_split(dataset(train=["a/1"], val=["a/1", "a/2"]), "all")) == ["a/1", "a/2"]


@pytest.mark.parametrize("name", ["holdout.csv", "train.csv", "labels.csv"])
def test_a_bare_file_is_one_split_that_is_scored_whole(tmp_path: Path, name: str) -> None:
    labels = {f"{i:02}.jpg": "ab"[i % 2] for i in range(40)}
    write_table(tmp_path / name, labels)
    data = open_dataset(tmp_path / name, [csv_labels.READER])
    own = next(iter(data.splits))
    for split in ("test", "all", own):
        assert ids(pick_split(data, split)) == list(labels)
    assert split_remarks(data, "test") == [f"{name} is one split: all of its 40 images are taken as 'test'"]
    assert split_remarks(data, own) == split_remarks(data, "all") == []
    for split in {"val", "valid", "train", "tset"} - {own}:
        with pytest.raises(UserError, match=rf"{name}: has no split '{split}'; the file is one split, scored whole"):
            pick_split(data, split)
    train, val, _ = train_val(data)
    assert (len(train), len(val)) == ((36, 4) if own == "train" else (32, 4))
    folder = open_dataset(tmp_path, [csv_labels.READER])
    if own == "train":
        with pytest.raises(UserError, match="no split 'test'; it has train, val"):
            pick_split(folder, "test")
    else:
        assert len(pick_split(folder, "test")) == 4
        assert "has no splits: cut" in split_remarks(folder, "test")[0]


def test_a_bare_file_with_splits_is_like_a_folder_with_splits(tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", {f"{i}.jpg": "x" for i in range(6)})
    rows = [f"{i}.jpg,{'ab'[i % 2]},{'test' if i > 3 else 'train'}\n" for i in range(6)]
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "".join(rows))
    data = open_dataset(tmp_path / "labels.csv", [csv_labels.READER])
    assert ids(pick_split(data, "test")) == ["4.jpg", "5.jpg"]
    assert len(pick_split(data, "all")) == 6
    with pytest.raises(UserError, match="has no split 'holdout'; it has train, test, val"):
        pick_split(data, "holdout")


def test_a_split_that_is_not_there_is_an_error_and_never_another_one() -> None:
    with pytest.raises(UserError, match=r"no split 'test'; it has train, val"):
        pick_split(dataset(train=["a/1"], val=["a/2"]), "test")
    with pytest.raises(UserError, match="split 'test' has no images"):
        pick_split(dataset(train=["a/1"], val=["a/2"], test=[]), "test")
    with pytest.raises(UserError, match=r"no split 'train' to train on; it has val, test"):
        train_val(dataset(val=["a/1"], test=["a/2"]))


@pytest.mark.parametrize("empty", ["train", "val"])
def test_training_on_nothing_is_an_error(empty: str) -> None:
    with pytest.raises(UserError, match=f"split '{empty}' has no images"):
        train_val(dataset(**({"train": ["a/1"], "val": ["a/2"]} | {empty: []})))
    with pytest.raises(UserError, match="split 'train' has no images"):
        train_val(dataset(all=[]))


def test_training_on_images_that_show_nothing_is_an_error() -> None:
    data = dataset(train=["a/1", "b/1"], val=["a/2"])
    some = replace(data, negatives=frozenset({"a/1", "a/2"}))
    assert ids(train_val(some)[0]) == ["a/1", "b/1"]
    none = replace(data, negatives=frozenset({"a/1", "b/1"}))
    with pytest.raises(UserError, match=r"/data/birds: nothing usable is annotated in the 2 images of 'train'"):
        train_val(none)
    flaws = (Flaw(Path("x.json"), "box 1 has no area: dropped"), Flaw(Path("y.json"), "box 2"))
    with pytest.raises(UserError, match=r"the first of 2 flaws: x\.json: box 1 has no area: dropped$"):
        train_val(replace(none, flaws=flaws))
    assert ids(pick_split(none, "train")) == ["a/1", "b/1"]  # scoring what must be found nowhere makes sense


@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_boxes_that_are_all_dropped_leave_nothing_to_train_on(tmp_path: Path, write: Callable[..., object]) -> None:
    write(tmp_path, splits=("train", "val"))
    assert len(train_val(open_dataset(tmp_path, DETECT.readers))[0]) == 6
    flat = (
        (r"<xmax>\d+", "<xmax>1"),
        (r'"bbox": \[.*?\]', '"bbox": [5, 5, 0, 5]'),
        (r"(?m)^(\d) .*", r"\1 .5 .5 0 .5"),
    )
    for path in tmp_path.rglob("*train*.[xt]*"), tmp_path.rglob("train/*.[jxt]*"):
        for file in path:
            if file.suffix in (".xml", ".json", ".txt") and file.parent.name != "Main":
                text = file.read_text()
                for pattern, replacement in flat:
                    text = re.sub(pattern, replacement, text)
                file.write_text(text)
    dataset = open_dataset(tmp_path, DETECT.readers)
    with pytest.raises(
        UserError, match=r"nothing usable is annotated in the 6 images of 'train'.*has no area: dropped"
    ):
        train_val(dataset)


def test_data_without_splits_is_cut_80_10_10_and_said() -> None:
    names = [f"{c}/{i}" for c in "ab" for i in range(500)]
    data = dataset(all=names)
    train, val, said = train_val(data)
    test = pick_split(data, "test")
    assert Counter(s.stratum for s in train) == {"a": 400, "b": 400}
    assert Counter(s.stratum for s in val) == Counter(s.stratum for s in test) == {"a": 50, "b": 50}
    assert sorted(ids(train) + ids(val) + ids(test)) == sorted(names)
    assert ids(train) == [name for name in names if name in set(ids(train))]  # the data set's order
    assert said == ["birds has no splits: cut by its sample ids into train 800, val 100, test 100 images"]
    assert (train, val) == (pick_split(data, "train"), pick_split(data, "val"))


def test_the_cut_is_the_same_every_time_in_any_order_and_another_with_another_seed() -> None:
    names = [f"{c}/{i}" for c in "ab" for i in range(50)]
    val = ids(pick_split(dataset(all=names), "val"))
    assert ids(pick_split(dataset(all=names[::-1]), "val")) == val[::-1]
    assert ids(pick_split(dataset(all=names), "val", seed=1)) != val
    # Written down once: a change here moves images between the splits of every user.
    assert val == ["a/31", "a/36", "a/38", "a/42", "a/43", "b/14", "b/18", "b/25", "b/35", "b/41"]


def test_the_cut_of_a_class_depends_on_no_other_class() -> None:
    names = [f"{c}/{i}" for c in "ab" for i in range(37)]
    before, after = (dataset(all=listed) for listed in (names, names + [f"c/{i}" for i in range(11)]))
    for split in ("train", "val", "test"):
        kept = [i for i in ids(pick_split(after, split)) if not i.startswith("c")]
        assert kept == ids(pick_split(before, split))


def test_many_small_classes_share_val_and_test_and_all_are_in_train() -> None:
    data = dataset(all=[f"{c}/{i}" for c in range(200) for i in range(5)])
    train, val, said = train_val(data)
    assert len({s.stratum for s in train}) == 200
    assert len(val) == pytest.approx(100, abs=25)
    assert len(pick_split(data, "test")) == pytest.approx(100, abs=25)
    assert "so few images that val or test got none of them" in said[1]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("kind", ["a", "b", "c", "d"])
def test_tiny_data_keeps_every_class_in_train_and_gives_val_what_it_can(count: int, kind: str) -> None:
    data = dataset(all=[f"{kind}/{i}" for i in range(count)] + ["lonely/0"])
    train = pick_split(data, "train")
    assert {s.stratum for s in train} == {kind, "lonely"}
    if count == 1:
        with pytest.raises(UserError, match="split 'val' has no images"):
            train_val(data)
    else:
        assert len(pick_split(data, "val")) >= 1
    if count >= 3:
        assert len(pick_split(data, "test")) >= 1


def test_train_without_val_gives_a_tenth_and_says_so() -> None:
    names = [f"{c}/{i}" for c in "ab" for i in range(100)]
    data = dataset(train=names, test=["a/x"])
    train, val, said = train_val(data)
    assert Counter(s.stratum for s in train) == {"a": 90, "b": 90}
    assert sorted(ids(train) + ids(val)) == sorted(names)
    assert said == ["birds has no val split: 20 of the 200 train images are held out as val, by their sample ids"]
    assert (pick_split(data, "train"), pick_split(data, "val")) == (train, val)
    assert ids(pick_split(data, "test")) == ["a/x"]
    assert len(pick_split(data, "all")) == 201


def test_trainval_is_trained_on_where_there_is_no_train() -> None:
    train, val, said = train_val(dataset(trainval=[f"x{i}" for i in range(50)], test=["y"]))
    assert (len(train), len(val)) == (45, 5)
    assert said == ["birds has no val split: 5 of the 50 trainval images are held out as val, by their sample ids"]


def test_truth_that_was_mended_is_said(tmp_path: Path) -> None:
    flaws = [Flaw(tmp_path / f"{name}.json", "box", of_truth=name != "c") for name in "aabc"]
    data = replace(dataset(test=["x/1"]), root=tmp_path, flaws=tuple(flaws))
    assert split_remarks(data, "test") == [
        "3 annotations were dropped or clipped (a.json, b.json): scores of the files as they are may differ"
    ]
