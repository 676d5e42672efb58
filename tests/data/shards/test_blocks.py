"""Blocks of far files: the right bytes, fetched once while they are held, by any number of threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import pytest

from vision_tasks.data.shards.blocks import Blocks

DATA = np.random.default_rng(0).bytes(1000)


class Far:
    """A file that counts what is fetched of it."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []
        self._lock = Lock()

    def __call__(self, file: str, start: int, end: int) -> bytes:
        with self._lock:
            self.fetched.append((start, end))
        return DATA[start:end]


def test_any_part_is_what_the_file_has():
    blocks = Blocks(Far(), held=256, block=64)
    luck = np.random.default_rng(1)
    for start, length in luck.integers(0, 1100, (300, 2)).tolist():
        assert blocks.read("x", start, length) == DATA[start : start + length]


def test_neighbours_cost_one_request_and_old_blocks_are_let_go():
    far = Far()
    blocks = Blocks(far, held=128, block=64)
    for start in range(0, 64, 8):
        blocks.read("x", start, 8)
    assert far.fetched == [(0, 64)]
    blocks.read("x", 60, 70)  # two more, of which one is new to the held ones
    assert far.fetched == [(0, 64), (64, 128), (128, 192)]
    blocks.read("x", 64, 1)
    assert len(far.fetched) == 3
    blocks.read("x", 0, 1)  # the oldest has gone
    assert far.fetched[3:] == [(0, 64)]


def test_files_are_told_apart():
    def fetch(file: str, start: int, end: int) -> bytes:
        return file.encode() * (end - start)

    blocks = Blocks(fetch, block=64)
    assert blocks.read("a", 0, 3) == b"aaa"
    assert blocks.read("b", 0, 3) == b"bbb"


def test_threads_that_want_the_same_fetch_it_once():
    far, together = Far(), Barrier(8)

    def ask(number: int) -> bytes:
        together.wait()
        return blocks.read("x", 10 * number, 10)

    blocks = Blocks(far, block=128)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(ask, range(8)))
    assert b"".join(parts) == DATA[:80]
    assert far.fetched == [(0, 128)]


def test_what_failed_is_tried_again_by_the_next():
    tries = []

    def fetch(file: str, start: int, end: int) -> bytes:
        tries.append(start)
        if len(tries) == 1:
            raise OSError("gone")
        return DATA[start:end]

    blocks = Blocks(fetch, block=64)
    with pytest.raises(OSError, match="gone"):
        blocks.read("x", 0, 4)
    assert blocks.read("x", 0, 4) == DATA[:4]
