"""Limits from the environment: what is a number, and what is an answer to one that is none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.factories import write_mask_pairs, write_mnist
from vision_tasks.data import limits
from vision_tasks.data.decode import read_image
from vision_tasks.data.limits import most_bytes, most_pixels
from vision_tasks.data.readers import mask_pairs, mnist_idx
from vision_tasks.errors import UserError

LIMITS = {"VISION_TASKS_MAX_PIXELS": most_pixels, "VISION_TASKS_MAX_BYTES": most_bytes}


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    for limit in LIMITS.values():
        limit.cache_clear()
    yield
    for limit in LIMITS.values():
        limit.cache_clear()


@pytest.mark.parametrize(("variable", "usual"), [("VISION_TASKS_MAX_PIXELS", 2**28), ("VISION_TASKS_MAX_BYTES", 2**32)])
@pytest.mark.parametrize(("text", "value"), [("", None), ("1000", 1000), ("1e9", 10**9), (" 2.5e3 ", 2500)])
def test_numbers(monkeypatch: pytest.MonkeyPatch, variable: str, usual: int, text: str, value: int | None) -> None:
    monkeypatch.setenv(variable, text)
    assert LIMITS[variable]() == (value or usual)


@pytest.mark.parametrize("variable", LIMITS)
@pytest.mark.parametrize("text", ["lots", "0", "-5", "nan", "inf", "2^30"])
def test_what_is_no_number(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UserError) as caught:
        LIMITS[variable]()
    assert str(caught.value).startswith(f"the environment variable {variable} is '{text}'; it takes a number such as ")


def read_a_photo(root: Path) -> object:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "a.png")
    return read_image(root / "a.png")


def read_masks(root: Path) -> object:
    write_mask_pairs(root, class_list=False)
    return mask_pairs.READER.read(root)


def read_digits(root: Path) -> object:
    write_mnist(root, {"train": 10, "t10k": 10})
    return mnist_idx.READER.read(root)


@pytest.mark.parametrize("read", [read_a_photo, read_masks, read_digits])
def test_they_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    for variable in LIMITS:
        monkeypatch.setenv(variable, "lots")
    with pytest.raises(UserError, match="the environment variable VISION_TASKS_MAX_"):
        read(tmp_path)
    for variable in LIMITS:
        monkeypatch.setenv(variable, "10")
    with pytest.raises(Exception, match="VISION_TASKS_MAX_"):
        read(tmp_path)
    for variable in LIMITS:
        monkeypatch.delenv(variable)
    limits.most_bytes.cache_clear()
    limits.most_pixels.cache_clear()
    read(tmp_path)
