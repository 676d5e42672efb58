"""What users get wrong about whole-image labels: one line each, with file and remedy; no file of theirs is touched."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories import write_folder_per_class, write_mnist, write_table
from vision_tasks.data.catalog import open_dataset, pick_split, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers import cifar_binary, csv_labels, folder_per_class, mnist_idx, oxford_pets
from vision_tasks.errors import UserError
from vision_tasks.types import Labels

READERS = [mnist_idx.READER, cifar_binary.READER, oxford_pets.READER, csv_labels.READER, folder_per_class.READER]


def fingerprint(root: Path) -> dict[str, str]:
    """Every path below `root`, with a hash and the times of what is there."""
    found = {}
    for path in sorted(root.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[path.relative_to(root).as_posix()] = f"{content} {path.stat().st_mtime_ns}"
    return found


def open_all(root: Path) -> Dataset[Labels]:
    """Open, cut, and read every truth and all packed pixels, as a training would."""
    dataset = open_dataset(root, READERS)
    train_val(dataset)
    for sample in pick_split(dataset, "all"):
        sample.truth(None)
        if sample.pixels:
            sample.pixels()
    return dataset


def nothing(root: Path) -> None:
    pass


def empty_folder(root: Path) -> None:
    root.mkdir()


def other_files(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("nothing to see")


def one_class(root: Path) -> None:
    write_folder_per_class(root, classes=("only",))


def class_without_images(root: Path) -> None:
    write_folder_per_class(root)
    for path in (root / "train" / "b").iterdir():
        path.unlink()


def class_of_other_files(root: Path) -> None:
    write_folder_per_class(root, splits=())
    for path in (root / "b").iterdir():
        path.rename(path.with_suffix(".txt"))


def same_class_in_another_case(root: Path) -> None:
    write_folder_per_class(root)
    (root / "test" / "a").rename(root / "test" / "A")


def same_class_in_another_case_and_script(root: Path) -> None:
    write_folder_per_class(root, classes=("ÄÖ", "b"))
    (root / "val" / "ÄÖ").rename(root / "val" / "a\u0308o\u0308")


def only_test(root: Path) -> None:
    write_folder_per_class(root, splits=("test",))


def table_of_missing_files(root: Path) -> None:
    write_table(root / "labels.csv", {"1.jpg": "a", "2.jpg": "b"})
    (root / "2.jpg").unlink()


def table_without_column(root: Path) -> None:
    write_table(root / "labels.csv", {"1.jpg": "a", "2.jpg": "b"})
    (root / "labels.csv").write_text("path,weight\n1.jpg,3\n2.jpg,7\n")


def digits_cut_short(root: Path) -> None:
    write_mnist(root, {"train": 100, "t10k": 10}, end="")
    data = (root / "train-images-idx3-ubyte").read_bytes()
    (root / "train-images-idx3-ubyte").write_bytes(data[:-1])


FAULTS: dict[Callable[[Path], None], tuple[str, str]] = {
    nothing: ("data: no such file or folder", "check --data"),
    empty_folder: ("data: the folder is empty", "check --data"),
    other_files: ("data: is not laid out", "expected mnist-idx: train-images"),
    one_class: ("data: only is the only class", "classification needs two or more"),
    class_without_images: ("data/train/b: class 'b' has no images to train on", "add some or remove the class"),
    class_of_other_files: ("data/b: class 'b' has no images to train on", "add some or remove the class"),
    same_class_in_another_case: ("data: the classes A and a differ in case only", "merge or rename one of them"),
    same_class_in_another_case_and_script: ("data: the classes ÄÖ and äö differ in case only", "merge or rename"),
    only_test: ("data: has no split 'train' to train on", "it has test"),
    table_of_missing_files: ("data: 1 of the 2 images listed don't exist: 2.jpg", "add the files or remove the rows"),
    table_without_column: ("data/labels.csv: has no column 'label'", "its columns are 'path', 'weight'"),
    digits_cut_short: ("data/train-images-idx3-ubyte: declares 100x28x28 values", "get it again"),
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_fault_is_one_line_with_the_file_and_the_remedy(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    root = tmp_path / "data"
    spoil(root)
    before = fingerprint(tmp_path)
    with pytest.raises(UserError) as caught:
        open_all(root)
    place, remedy = FAULTS[spoil]
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/{place}")
    assert remedy in message
    assert "\n" not in message
    assert fingerprint(tmp_path) == before


def test_a_split_that_is_asked_for_and_is_not_there(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path, splits=("train", "val"))
    dataset = open_dataset(tmp_path, READERS)
    with pytest.raises(
        UserError, match=rf"{tmp_path}: has no split 'test'; it has train, val, and 'all' takes them all"
    ):
        pick_split(dataset, "test")


def test_a_file_that_is_no_data_set(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path)
    for path in (tmp_path / "train" / "a" / "000.jpg", Path(__file__)):
        with pytest.raises(UserError, match="is a file; --data takes the data set's folder"):
            open_dataset(path, READERS)


@pytest.mark.parametrize("kind", ["folders", "table", "digits"])
def test_good_data_stays_as_it_is_also_where_nothing_may_be_written(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind == "folders":
        write_folder_per_class(root, per_class=20, splits=("train", "test"))
    elif kind == "table":
        write_table(root / "labels.csv", {f"{i:02}.jpg": "ab"[i % 2] for i in range(40)})
    else:
        write_mnist(root, {"train": 100, "t10k": 10})
    before = fingerprint(root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        open_all(root)
    finally:
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
    assert fingerprint(root) == before
    shutil.rmtree(root)


def test_every_format_is_told_from_every_other(tmp_path: Path) -> None:
    """Whatever the order of the readers, data is recognised by its own one only."""
    write_folder_per_class(tmp_path / "folder-per-class")
    write_table(tmp_path / "csv" / "labels.csv", {"photos/1.jpg": "a", "photos/2.jpg": "b"})
    write_mnist(tmp_path / "mnist-idx", {"train": 20, "t10k": 20})
    for name in ("folder-per-class", "csv", "mnist-idx"):
        assert open_dataset(tmp_path / name, READERS).format == name
    recognised = {
        path.name: [reader.format for reader in READERS if reader.recognises(path)] for path in tmp_path.iterdir()
    }
    # Images in one folder beside a table look like one class, too: the table must be asked first.
    assert recognised == {
        "folder-per-class": ["folder-per-class"],
        "csv": ["csv", "folder-per-class"],
        "mnist-idx": ["mnist-idx"],
    }
