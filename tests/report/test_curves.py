"""What can be counted in the picture, and what must be read in the table."""

import csv
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vision_tasks.report.curves import write_curves
from vision_tasks.report.label_errors import write_label_errors

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def step(until: float) -> dict[str, list[float]]:
    """Precision 1 up to a recall, then 0."""
    return {"precision": np.where(np.linspace(0, 1, 101) <= until, 1.0, 0.0).tolist()}


def picture(folder: Path, curves: dict) -> np.ndarray:
    with warnings.catch_warnings(action="error"):
        (path,) = write_curves(folder, curves)
    assert path == folder / "precision_recall.png"
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def columns(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a colour stands, from left to right."""
    return np.flatnonzero((np.abs(pixels - colour).max(axis=2) < 12).any(axis=0))


def test_the_best_class_has_the_first_colour_and_each_ends_at_its_recall(tmp_path: Path) -> None:
    pixels = picture(tmp_path, {"worse": step(0.3), "better": step(0.8)})
    left, width = columns(pixels[:, :745], ORANGE).min(), 660  # 5.5 inches
    for colour, recall in ((BLUE, 0.8), (ORANGE, 0.3)):
        drop = columns(pixels[200:400, :745], colour).mean()
        assert (drop - left) / width == pytest.approx(recall + 0.005, abs=0.02)


@pytest.mark.parametrize("count", [1, 2, 10, 11, 12, 13, 80, 500])
def test_a_picture_fits_a_screen_for_any_number_of_classes(tmp_path: Path, count: int) -> None:
    pixels = picture(tmp_path, {f"some class with a long name {i}": step(i / count) for i in range(count)})
    assert 500 < pixels.shape[0] < 900
    assert 700 < pixels.shape[1] < 1300


def test_names_that_need_care_can_be_drawn(tmp_path: Path) -> None:
    picture(tmp_path, {name: step(0.5) for name in ("_hidden", "$x^2$", "犬\udce9", "two\nlines")})


def test_without_classes_there_is_no_picture(tmp_path: Path) -> None:
    assert write_curves(tmp_path, {}) == []
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_no_global_state(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from vision_tasks.report.curves import write_curves;"
        "write_curves(pathlib.Path(sys.argv[1]), {'a': {'precision': [1.0, 0.5]}});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_suspected_labels_come_back_from_the_table(tmp_path: Path) -> None:
    row = {"image": 'a,"b".jpg', "what": "missing label", "confidence": 0.9, "label": "", "predicted": "ant"}
    (path,) = write_label_errors(tmp_path, [row | {"box": [1, 2.5, 3, 4]}])
    with path.open(newline="") as file:
        read = list(csv.reader(file))
    assert read[0] == ["image", "what", "confidence", "label", "predicted", "x1", "y1", "x2", "y2"]
    assert read[1:] == [['a,"b".jpg', "missing label", "0.9", "", "ant", "1", "2.5", "3", "4"]]
    write_label_errors(tmp_path, [])
    assert len(path.read_text().splitlines()) == 1
