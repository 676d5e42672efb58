"""Masks as files: what Pillow and OpenCV read is what was written, and large ones need no memory."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from vision_tasks.tasks import class_index
from vision_tasks.tasks.class_index import pixel_counts, write_index_png

PALETTE = [(i, 255 - i, i // 2) for i in range(256)]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (57, 83), (256, 256)])
@pytest.mark.parametrize("at_once", [1, 1000, 2**22])
def test_other_tools_read_what_was_written(size, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(class_index, "_AT_ONCE", at_once)
    index = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    write_index_png(tmp_path / "new" / "a.png", index, PALETTE)
    with Image.open(tmp_path / "new" / "a.png") as stored:
        stored.verify()
    with Image.open(tmp_path / "new" / "a.png") as stored:
        assert stored.mode == "P"
        assert (np.asarray(stored) == index).all()
        assert (np.asarray(stored.convert("RGB")) == np.array(PALETTE)[index]).all()
    assert (cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1] == np.array(PALETTE)[index]).all()


@pytest.mark.parametrize("at_once", [1, 1000, 2**22])
def test_every_pixel_is_counted(at_once, monkeypatch):
    monkeypatch.setattr(class_index, "_AT_ONCE", at_once)
    index = np.random.default_rng(0).integers(0, 9, (57, 83), np.uint8)
    index[:3] = 255
    assert (pixel_counts(index) == np.bincount(index.ravel(), minlength=256)).all()
    assert (pixel_counts(index[::2, ::3]) == np.bincount(index[::2, ::3].ravel(), minlength=256)).all()


def test_a_file_that_can_not_be_finished_is_not_left(tmp_path, monkeypatch):
    def stopped(index):
        yield b""
        raise KeyboardInterrupt

    monkeypatch.setattr(class_index, "_compressed", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_index_png(tmp_path / "a.png", np.zeros((3, 3), np.uint8), PALETTE)
    assert not (tmp_path / "a.png").exists()


def test_memory_does_not_grow_with_the_mask(tmp_path):
    """64 megapixels from a file, of which some rows at a time are in memory."""
    (tmp_path / "index").write_bytes(bytes(2**26))
    index = np.memmap(tmp_path / "index", np.uint8, "r", shape=(2**13, 2**13))
    tracemalloc.start()
    write_index_png(tmp_path / "a.png", index, PALETTE)
    counts = pixel_counts(index)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts[0] == 2**26
    assert most < 2**24
