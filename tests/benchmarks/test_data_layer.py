"""What the comparison of data layers is built on: copies that differ, rates of epochs, and crops by Pillow."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.data_layer import _copy
from benchmarks.our_epochs import JOBS, distances, samples_of
from benchmarks.peers.epochs import Pictures, epoch_rate
from benchmarks.peers.loaders import Peer


def write_photo(path: Path, seed: int = 0) -> None:
    """A smooth picture, so that a decoder's rounding is all that two crops of it differ by."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC)).save(path, quality=90)


def test_copies_show_the_same_and_are_other_bytes(tmp_path: Path) -> None:
    write_photo(tmp_path / "0.jpg")
    copies = [tmp_path / "copies" / f"{number}.jpg" for number in (1, 2)]
    for number, copy in enumerate(copies):
        _copy(tmp_path / "0.jpg", copy, number)
    assert copies[0].read_bytes() != copies[1].read_bytes()
    for copy in copies:
        assert np.array_equal(np.asarray(Image.open(copy)), np.asarray(Image.open(tmp_path / "0.jpg")))


def test_the_first_batches_are_no_part_of_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def slow_start():
        nonlocal now
        now += 0.3
        for _ in range(11):
            yield torch.zeros(4, 1)
            now += 0.01

    monkeypatch.setattr("benchmarks.peers.epochs.time", SimpleNamespace(perf_counter=lambda: now))
    # Nine batches from the second one's arrival on, ten steps of 10 ms; 90 images/s with the start.
    assert epoch_rate(slow_start(), skip=1) == pytest.approx(9 * 4 / 0.1)


def test_an_epoch_that_is_too_short_to_be_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="more than 3 batches"):
        epoch_rate(repeat(torch.zeros(4, 1), 3), skip=2)


def test_kept_images_are_read_once(tmp_path: Path) -> None:
    for number in range(2):
        write_photo(tmp_path / f"{number}.jpg")
    read: list[Path] = []
    kept = Pictures(tmp_path, Peer(lambda path: read.append(path) or len(read), torch.tensor), keep=True)
    assert [int(kept[index][0]) for index in (1, 0, 1)] == [2, 1, 2]
    assert len(read) == 2


def test_our_crops_are_pillows(tmp_path: Path) -> None:
    for number in range(4):
        write_photo(tmp_path / f"class{number % 2}" / f"{number}.jpg", number)
    job = JOBS["crops"]
    samples = samples_of(job, tmp_path)
    assert len(samples) == 4
    assert min(distances(job, samples)) > 45
