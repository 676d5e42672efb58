"""CIFAR's binary records, composed byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.readers.cifar_binary import READER
from vision_tasks.errors import UserError

COLOURS = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)


def records(start: int, count: int, classes: int, coarse: bool = False) -> bytes:
    """Images `start` and on; image i has class i % `classes`, coarse class 99."""
    rows = []
    for i in range(start, start + count):
        planes = b"".join(COLOURS[i, :, :, channel].tobytes() for channel in range(3))
        rows.append(bytes([99, i % classes] if coarse else [i % classes]) + planes)
    return b"".join(rows)


def write_cifar10(root: Path, batches: int = 5) -> None:
    root.mkdir(exist_ok=True)
    for number in range(1, batches + 1):
        (root / f"data_batch_{number}.bin").write_bytes(records(10 * (number - 1), 10, 3))
    (root / "test_batch.bin").write_bytes(records(50, 4, 3))
    (root / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n\n")


def test_cifar10(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    dataset = open_dataset(tmp_path, [READER])
    assert (dataset.format, dataset.classes) == ("cifar-binary", ("airplane", "automobile", "bird"))
    assert [sample.id for sample in dataset.splits["train"][8:12]] == [
        "train/00008", "train/00009", "train/00010", "train/00011"
    ]  # fmt: skip
    assert dataset.splits["train"][11].path == tmp_path / "data_batch_2.bin"
    for split, start in (("train", 0), ("test", 50)):
        for i, sample in enumerate(dataset.splits[split], start):
            assert sample.pixels
            assert np.array_equal(sample.pixels(), COLOURS[i])
            assert sample.truth(None).weight[0].tolist() == np.eye(3)[i % 3].tolist()
            assert sample.stratum == dataset.classes[i % 3]
    assert [len(samples) for samples in dataset.splits.values()] == [50, 4]
    assert dataset.flaws == ()


def test_cifar100_has_fine_classes(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(records(0, 20, 10, coarse=True))
    (tmp_path / "test.bin").write_bytes(records(20, 10, 10, coarse=True))
    (tmp_path / "fine_label_names.txt").write_text("".join(f"fine{i}\n" for i in range(10)))
    (tmp_path / "coarse_label_names.txt").write_text("coarse\n")
    dataset = READER.read(tmp_path)
    assert READER.recognises(tmp_path)
    assert dataset.classes == tuple(f"fine{i}" for i in range(10))
    sample = dataset.splits["test"][7]
    assert sample.pixels
    assert np.array_equal(sample.pixels(), COLOURS[27])
    assert sample.stratum == "fine7"


def test_a_missing_batch_is_told(tmp_path: Path) -> None:
    write_cifar10(tmp_path, batches=2)
    dataset = READER.read(tmp_path)
    assert len(dataset.splits["train"]) == 20
    assert [flaw.what for flaw in dataset.flaws] == [
        "data_batch_3.bin, data_batch_4.bin, data_batch_5.bin of train is missing: 2 of its files are read"
    ]


def test_faults_name_the_file(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\n")
    with pytest.raises(UserError, match=r"data_batch_1.bin: image 2 has the label 2, but batches.meta.txt names 2"):
        READER.read(tmp_path)
    write_cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\nbird\ncat\n")
    with pytest.raises(UserError, match="class 'cat' has no images to train on"):
        READER.read(tmp_path)
    for names, message in {
        "airplane\nairplane\nbird\n": "the classes airplane and airplane have the same name",
        "airplane\nautomobile\nAirplane\n": "the classes airplane and Airplane differ in case only",
        "airplane\n": "airplane is the only class; classification needs two or more",
        "\n": "there is no class; classification needs two or more",
    }.items():
        (tmp_path / "batches.meta.txt").write_text(names)
        with pytest.raises(UserError, match=rf"batches.meta.txt: {message}"):
            READER.read(tmp_path)
    for size in (0, 3073 * 4 - 1):
        write_cifar10(tmp_path)
        (tmp_path / "test_batch.bin").write_bytes(bytes(size))
        with pytest.raises(UserError, match=rf"test_batch.bin: has {size} bytes, which is no multiple of the 3073"):
            READER.read(tmp_path)


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "names-missing")
    (tmp_path / "names-missing" / "batches.meta.txt").unlink()
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    assert not READER.recognises(tmp_path / "names-missing")
    assert not READER.recognises(tmp_path)
    assert not READER.recognises(tmp_path / "batches.meta.txt")
