"""The numbers exactly; the picture by what can be counted in its pixels."""

import csv
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vision_tasks.report.confusion import shown, write_confusion

ODD = ["a,b", 'say "x"', "$x^2$", "犬\udce9", "two\nlines"]


def picture(folder: Path, confusion: np.ndarray, names: list[str]) -> np.ndarray:
    """RGB [H,W,3] of what is drawn."""
    with warnings.catch_warnings(action="error"):
        _, path = write_confusion(folder, confusion.tolist(), names)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def named(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


def dark(pixels: np.ndarray) -> int:
    """Pixels in the colour of a whole row's share."""
    return int((np.abs(pixels - [8, 48, 107]).max(axis=2) < 4).sum())


def white(pixels: np.ndarray) -> int:
    return int((pixels.min(axis=2) > 250).sum())


def test_numbers_with_the_names_of_classes(tmp_path: Path) -> None:
    paths = write_confusion(tmp_path, [[5, 1, 0], [2, 7, 3]], ["cat", "dog"])
    assert paths == [tmp_path / "confusion.csv", tmp_path / "confusion.png"]
    assert paths[0].read_text() == "truth \\ predicted,cat,dog,(nothing)\ncat,5,1,0\ndog,2,7,3\n"


def test_a_row_of_what_is_seen_where_nothing_is(tmp_path: Path) -> None:
    numbers, path = write_confusion(tmp_path, [[5, 1, 0], [2, 7, 3], [4, 0, 0]], ["cat", "dog"])
    rows = ["truth \\ predicted,cat,dog,(nothing)", "cat,5,1,0", "dog,2,7,3", "(nothing),4,0,0"]
    assert numbers.read_text().splitlines() == rows
    assert path.exists()
    square, tall = (picture(tmp_path, np.ones((size, 11), dtype=int), named(10)) for size in (10, 11))
    assert tall.shape[0] > square.shape[0] + 40


def test_names_that_need_care_come_back_from_the_numbers_and_can_be_drawn(tmp_path: Path) -> None:
    picture(tmp_path, np.eye(5, dtype=int), ODD)
    with (tmp_path / "confusion.csv").open(errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == ODD
    assert [[int(value) for value in row[1:]] for row in rows[1:]] == np.eye(5).tolist()


def test_a_cell_is_coloured_by_its_share_of_the_row(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    cell = (2.2 / 4 * 120) ** 2  # pixels: a fourth of 2.2 inches, squared
    scale = dark(picture(tmp_path, np.zeros((4, 4), dtype=int), names))
    for counts in (np.diag([1, 7, 3, 9]), np.diag([400, 1, 1, 1])[::-1]):
        assert dark(picture(tmp_path, counts, names)) - scale == pytest.approx(4 * cell, rel=0.1)
    assert dark(picture(tmp_path, np.ones((4, 4), dtype=int), names)) == scale
    rare = np.diag([999] * 4) + 1 - np.eye(4, dtype=int)  # a thousandth of a row is no longer white
    assert white(picture(tmp_path, np.diag([999] * 4), names)) - white(picture(tmp_path, rare, names)) > 11 * cell


def test_the_column_of_nothing_is_drawn_only_if_something_is_in_it(tmp_path: Path) -> None:
    counts = np.eye(3, 4, dtype=int)
    without = picture(tmp_path, counts, ["a", "b", "c"])
    square = picture(tmp_path, counts[:, :3], ["a", "b", "c"])
    np.testing.assert_array_equal(without, square)
    counts[2, 3] = 5
    assert picture(tmp_path, counts, ["a", "b", "c"]).shape[1] > square.shape[1] + 60


@pytest.mark.parametrize("count", [2, 10, 60, 1000])
def test_a_picture_fits_a_screen_for_any_number_of_classes(tmp_path: Path, count: int) -> None:
    pixels = picture(tmp_path, np.diag(np.arange(count) % 7) * 10_000, named(count))
    assert 200 < pixels.shape[0] < 1800
    assert 200 < pixels.shape[1] < 1900


def test_long_names_keep_both_ends() -> None:
    assert shown("short") == "short"
    assert shown("a" * 24) == "a" * 24
    assert shown("German shorthaired pointer, male") == "German short…inter, male"
    assert len(shown("German shorthaired pointer, male")) == 24


def test_drawing_leaves_no_global_state(tmp_path: Path) -> None:
    """A user's own figures, and machines without a screen, are not touched."""
    code = (
        "import sys, pathlib; from vision_tasks.report.confusion import write_confusion;"
        "assert 'matplotlib' not in sys.modules;"
        "write_confusion(pathlib.Path(sys.argv[1]), [[1, 0], [0, 1]], ['a', 'b']);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.csv", "confusion.png"]
