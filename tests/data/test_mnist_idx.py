"""IDX files against torchvision's own reader, and every fault of a header, a length or a count."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torchvision

from tests.factories import write_folder_per_class, write_idx, write_mnist
from vision_tasks.data.catalog import open_dataset, train_val
from vision_tasks.data.readers import mnist_idx
from vision_tasks.data.readers.mnist_idx import READER
from vision_tasks.errors import UserError
from vision_tasks.types import Labels, Sample

COUNTS = {"train": 30, "t10k": 20}


def pixels(samples: tuple[Sample[Labels], ...]) -> np.ndarray:
    return np.stack([sample.pixels() for sample in samples if sample.pixels])


@pytest.mark.parametrize("end", ["", ".gz"])
def test_equals_torchvision(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_mnist(folder, COUNTS, end)
    dataset = open_dataset(folder, [READER])
    assert dataset.classes == tuple("0123456789")
    if end:
        for path in list(folder.iterdir()):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    for split in ("train", "test"):
        theirs = torchvision.datasets.MNIST(tmp_path, train=split == "train")
        samples = dataset.splits[split]
        assert np.array_equal(pixels(samples), theirs.data.numpy()[..., None].repeat(3, axis=-1))
        labels = [int(sample.truth((28, 28)).weight.argmax()) for sample in samples]
        assert labels == theirs.targets.tolist() == [int(sample.stratum) for sample in samples]


def test_ids_paths_and_shapes(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS, size=(5, 7))
    sample = READER.read(tmp_path).splits["test"][13]
    assert (sample.id, sample.path) == ("test/00013", tmp_path / "t10k-images-idx3-ubyte.gz")
    assert sample.pixels
    assert sample.pixels().shape == (5, 7, 3)
    assert sample.pixels().dtype == np.uint8
    assert sample.truth(None).weight.tolist() == [[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]


def test_names_with_dots_and_upper_case(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS, "")
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx").upper()))
    assert READER.recognises(tmp_path)
    assert {split: len(samples) for split, samples in READER.read(tmp_path).splits.items()} == {"train": 30, "test": 20}


def test_val_is_held_out_of_train(tmp_path: Path) -> None:
    write_mnist(tmp_path, {"train": 200, "t10k": 20})
    train, val, said = train_val(READER.read(tmp_path))
    assert Counter(sample.stratum for sample in val) == dict.fromkeys("0123456789", 2)
    assert len(train) == 180
    assert "20 of the 200 train images are held out as val" in said[0]


def test_a_list_names_the_classes(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS)
    names = [f"digit {'abcdefghij'[i]}" for i in range(10)]
    for lines in (names, [f"{i} {name}" for i, name in enumerate(names)]):
        (tmp_path / "classes.txt").write_text("\n".join(lines))
        dataset = READER.read(tmp_path)
        assert dataset.classes == tuple(names)
        assert dataset.splits["train"][14].stratum == names[4]
    (tmp_path / "classes.txt").write_text("\n".join(names[:9]))
    with pytest.raises(UserError, match=r"classes.txt: doesn't name the label 9; add it"):
        READER.read(tmp_path)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (["a", "b", "a", *"defghij"], r"classes.txt: the classes a and a have the same name; merge or rename"),
        (["a", "b", "A", *"defghij"], r"classes.txt: the classes a and A differ in case only; merge or rename"),
        ([*(f"{i} {i}x" for i in range(10)), "3 y"], r"classes.txt: names the label 3 twice; keep one of the lines"),
    ],
)
def test_names_that_cannot_be_told_apart(tmp_path: Path, listed: list[str], message: str) -> None:
    write_mnist(tmp_path, COUNTS)
    (tmp_path / "classes.txt").write_text("\n".join(listed))
    with pytest.raises(UserError, match=message):
        READER.read(tmp_path)


def test_emnist_has_its_own_names_and_lies_on_its_side(tmp_path: Path) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    for split in ("train", "test"):
        write_idx(tmp_path / f"emnist-letters-{split}-images-idx3-ubyte.gz", upright.transpose(0, 2, 1).copy())
        write_idx(tmp_path / f"emnist-letters-{split}-labels-idx1-ubyte.gz", np.uint8([1, 3, 1, 3, 1, 3]))
    assert READER.read(tmp_path).classes == ("1", "3")
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n3 67 99\n")
    dataset = READER.read(tmp_path)
    assert dataset.classes == ("A", "C")
    assert np.array_equal(pixels(dataset.splits["test"])[..., 0], upright)
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65\n3 97\n")
    assert READER.read(tmp_path).classes == ("A", "a")
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65\n3 65\n")
    with pytest.raises(UserError, match=r"mapping.txt: the classes A and A have the same name"):
        READER.read(tmp_path)
    (tmp_path / "classes.txt").write_text("1 a\n3 A\n")
    with pytest.raises(UserError, match=r"classes.txt: the classes a and A differ in case only"):
        READER.read(tmp_path)
    write_mnist(tmp_path, COUNTS)
    with pytest.raises(UserError, match="holds more than one data set"):
        READER.read(tmp_path)


def test_pixels_are_read_once_and_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, {"train": 400, "t10k": 20})
    read: list[str] = []
    original = mnist_idx._read_images
    monkeypatch.setattr(mnist_idx, "_read_images", lambda part: (read.append(part.images.name), original(part))[1])
    samples = READER.read(tmp_path).splits["train"]
    assert read == []
    with ThreadPoolExecutor(16) as pool:
        together = np.stack(list(pool.map(lambda sample: sample.pixels(), samples)))
    assert read == ["train-images-idx3-ubyte.gz"]
    wanted = np.random.default_rng(0).integers(0, 256, (400, 28, 28), dtype=np.uint8)
    assert np.array_equal(together[..., 1], wanted)


def test_nobody_can_change_the_shared_pixels(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS)
    sample = READER.read(tmp_path).splits["train"][0]
    assert sample.pixels
    before = sample.pixels().copy()
    sample.pixels()[...] = 7
    assert np.array_equal(sample.pixels(), before)


def images(*shape: int, values: int | None = None, kind: int = 8) -> bytes:
    """An IDX file that declares `shape`, and holds `values` bytes."""
    header = bytes([0, 0, kind, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    return header + bytes(int(np.prod(shape)) if values is None else values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is no IDX file of bytes in 3 dimensions, as it starts with nothing"),
        (b"\0\0\x08", r"is no IDX file of bytes"),
        (b"\0\0\x08\x03\0\0", r"is no IDX file of bytes"),
        (images(30, 28, 28, kind=13), r"is no IDX file .* starts with 00 00 0d 03"),
        (images(30), r"is no IDX file .* starts with 00 00 08 01"),
        (b"<html>no such file</html>", r"is no IDX file .* starts with 3c 68 74 6d"),
        (images(30, 28, 28, values=100), r"declares 30x28x28 values, (which its \d+ bytes can't be|but holds fewer)"),
        (
            images(30, 28, 28, values=30 * 784 + 1),
            r"declares 30x28x28 values, (which its \d+ bytes can't be|but holds more)",
        ),
        (images(29, 28, 28), r"labels-idx1-ubyte\S*: has 30 labels for the 29 images in train-images"),
        (images(0, 28, 28), r"declares 0x28x28 values, so there is nothing in it"),
        (images(2**31, 2**31, 2**31, values=9), r"declares \d+ bytes; raise VISION_TASKS_MAX_BYTES"),
        (images(2**16, 2**10, 2**4, values=9), r"declares 65536x1024x16 values, which its \d+ bytes can't be"),
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_faults_name_the_file(tmp_path: Path, data: bytes, message: str, end: str) -> None:
    write_mnist(tmp_path, COUNTS, end)
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    path.write_bytes(gzip.compress(data) if end else data)
    with pytest.raises(UserError, match=message) as caught:
        READER.read(tmp_path).splits["train"][0].pixels()  # type: ignore[misc]
    assert str(tmp_path / "train-") in str(caught.value)


@pytest.mark.parametrize("cut", [11, 400, 20_000])
def test_a_packed_file_cut_short(tmp_path: Path, cut: int) -> None:
    write_mnist(tmp_path, COUNTS)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: can't be read .*; get it again"):
        READER.read(tmp_path).splits["train"][0].pixels()  # type: ignore[misc]


def test_damaged_packed_bytes(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:10] + b"\xff" * 30)
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte.gz: can't be read"):
        READER.read(tmp_path)


def test_an_unpacked_file_that_kept_its_name(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert len(READER.read(tmp_path).splits["train"]) == 30


def test_a_bomb_is_refused_by_a_limit_that_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, COUNTS)
    monkeypatch.setattr(mnist_idx, "most_bytes", lambda: 30 * 784)
    with pytest.raises(UserError, match="VISION_TASKS_MAX_BYTES"):
        READER.read(tmp_path)
    monkeypatch.setattr(mnist_idx, "most_bytes", lambda: 30 * 784 + 16)
    assert pixels(READER.read(tmp_path).splits["train"]).shape == (30, 28, 28, 3)


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    write_mnist(tmp_path, COUNTS)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz: has no file of labels beside it; add it"):
        READER.read(tmp_path)


def test_classes_that_train_lacks_and_one_class_only(tmp_path: Path) -> None:
    write_mnist(tmp_path, {"train": 9, "t10k": 20})
    with pytest.raises(UserError, match="class '9' has no images to train on"):
        READER.read(tmp_path)
    write_mnist(tmp_path / "one", {"train": 1})
    with pytest.raises(UserError, match="one: 0 is the only class; classification needs two or more"):
        READER.read(tmp_path / "one")


def test_other_folders_and_files_are_not_recognised(tmp_path: Path) -> None:
    write_folder_per_class(tmp_path / "folders")
    write_mnist(tmp_path / "mnist", COUNTS)
    assert not READER.recognises(tmp_path / "folders")
    assert not READER.recognises(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz")
    assert not READER.recognises(tmp_path)


@pytest.mark.shared
def test_shared_data_as_its_readme_says(shared_data: Path) -> None:
    dataset = READER.read(shared_data / "classify-mnist-idx")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 60000, "test": 10000}
    # The known error 947 of the test set is labelled 8.
    assert dataset.splits["test"][947].stratum == "8"
    header = bytes([0, 0, 8, 3]) + b"".join(side.to_bytes(4, "big") for side in (10000, 28, 28))
    data = header + pixels(dataset.splits["test"])[..., 0].tobytes()
    assert hashlib.md5(data).hexdigest() == "2646ac647ad5339dbf082846283269ea"
