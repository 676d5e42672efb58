"""The picture by what can be counted in its pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

from vision_tasks.report.reliability import write_reliability

RED, BLUE = (209, 73, 91), (127, 183, 230)


def painted(folder: Path, confidence: float, accuracy: float) -> tuple[int, int]:
    """Pixels of the gap that are nearly red and blue, where all images lie in one bin."""
    values = [float("nan")] * 15
    bins = {"images": [0] * 15, "confidence": list(values), "accuracy": list(values)}
    place = int(np.ceil(confidence * 15)) - 1
    bins["images"][place], bins["confidence"][place], bins["accuracy"][place] = 8, confidence, accuracy
    (path,) = write_reliability(folder, bins)
    assert path == folder / "reliability.png"
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(float)
    counts = []
    for colour in (RED, BLUE):
        counts.append(int((np.abs(pixels - colour).max(axis=2) < 6).sum()))
    return counts[0], counts[1]


def test_the_gap_is_red_above_and_blue_below(tmp_path: Path) -> None:
    sure, shy, fair = painted(tmp_path, 0.9, 0.4), painted(tmp_path, 0.4, 0.9), painted(tmp_path, 0.9, 0.9)
    assert sure[0] > fair[0] + 2000  # a legend has a patch of each
    assert shy[1] > fair[1] + 2000
    assert abs(sure[1] - fair[1]) < 200
    assert abs(shy[0] - fair[0]) < 200


def test_twice_the_gap_is_twice_the_colour(tmp_path: Path) -> None:
    none, half, whole = (painted(tmp_path, 0.9, accuracy)[0] for accuracy in (0.9, 0.65, 0.4))
    assert abs((whole - none) - 2 * (half - none)) < 0.1 * (whole - none)


def test_without_images_there_is_no_picture(tmp_path: Path) -> None:
    nothing = [float("nan")] * 15
    assert write_reliability(tmp_path, {"images": [0] * 15, "confidence": nothing, "accuracy": nothing}) == []
    assert not list(tmp_path.iterdir())
