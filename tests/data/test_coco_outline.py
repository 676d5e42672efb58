"""Outlines against pycocotools: rasterised and unpacked to the same pixel."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as judge

from vision_tasks.data.readers.coco_outline import Outline, read_outline


def painted(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    """bool [H,W]"""
    height, width = size
    flat = np.zeros(height * width, bool)
    spans = outline.spans(size)
    flat[spans.positions()] = True
    assert flat.sum() == spans.area == len(spans.positions())
    return flat.reshape(width, height).T


def judged(stored: Any, size: tuple[int, int]) -> np.ndarray:
    """What pycocotools' `annToMask` makes of it."""
    if isinstance(stored, list):
        return judge.decode(judge.merge(judge.frPyObjects(stored, *size))).astype(bool)
    if isinstance(stored["counts"], list):
        stored = judge.frPyObjects(stored, *size)
    return judge.decode(stored).astype(bool)


@pytest.mark.parametrize("seed", range(40))
def test_polygons_are_painted_as_pycocotools_does(seed: int) -> None:
    """Of any kind: convex or crossing themselves, whole numbers or not, partly or wholly outside, several at once."""
    luck = np.random.default_rng(seed)
    size = (int(luck.integers(1, 70)), int(luck.integers(1, 70)))
    polygons = []
    for _ in range(luck.integers(1, 4)):
        points = luck.uniform(-0.3, 1.3, (luck.integers(3, 12), 2)) * (size[1], size[0])
        if seed % 3 == 0:
            points = points.round()
        elif seed % 3 == 1:
            points = points.clip(0, (size[1], size[0])).round(2)
        polygons.append(points.ravel().tolist())
    outline = read_outline(polygons)
    assert outline.problem == ""
    np.testing.assert_array_equal(painted(outline, size), judged(polygons, size))


def test_one_polygon_may_stand_alone() -> None:
    flat = [1, 1, 5, 1, 5, 4, 1, 4]
    expected = np.zeros((6, 8), bool)
    expected[1:4, 1:5] = True
    np.testing.assert_array_equal(painted(read_outline(flat), (6, 8)), expected)
    np.testing.assert_array_equal(painted(read_outline([flat]), (6, 8)), expected)


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_in_both_forms(seed: int) -> None:
    luck = np.random.default_rng(seed)
    size = tuple(luck.integers(1, 200, 2).tolist())
    inside = luck.random(size) < luck.choice([0, 0.01, 0.5, 0.99, 1])
    packed = judge.encode(np.asfortranarray(inside.astype(np.uint8)))
    flat = np.concatenate([[0], inside.T.ravel().astype(int), [2]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    for stored in ({"size": list(size), "counts": packed["counts"].decode()}, {"size": list(size), "counts": counts}):
        outline = read_outline(stored)
        assert (outline.problem, outline.size) == ("", size)
        np.testing.assert_array_equal(painted(outline, size), inside)
        np.testing.assert_array_equal(painted(outline, size), judged(stored, size))


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (None, "is missing: dropped"),
        ([], "is missing: dropped"),
        ("0 0 1 1", "is missing: dropped"),
        ([[1, 1, 5, 5]], "has 2 points, and a polygon needs three: dropped"),
        ([1, 1, 5, 5], "has 2 points, and a polygon needs three: dropped"),
        ([[]], "has 0 points, and a polygon needs three: dropped"),
        ([[1, 1, 5, 5, 1]], "isn't x and y in turn: dropped"),
        ([[[1, 1], [5, 5], [1, 5]]], "isn't x and y in turn: dropped"),
        ([[1, 1, 5, "x", 1, 5]], "is no list of numbers: dropped"),
        ([[1, 1, 5, float("nan"), 1, 5]], "has a corner that is no finite number: dropped"),
        ([[1, 1, 5, 10**400, 1, 5]], "is no list of numbers: dropped"),
        ({"size": [2, 2], "counts": [1, 2]}, "has run lengths that don't add up to its size, 2x2: dropped"),
        ({"size": [2, 2], "counts": [5, -1]}, "has run lengths that don't add up to its size, 2x2: dropped"),
        ({"size": [2, 2], "counts": [[4]]}, "has run lengths that don't add up to its size, 2x2: dropped"),
        (
            {"size": [10, 10], "counts": [2**63 - 1, 2**63 - 1, 102]},
            "has run lengths that don't add up to its size, 10x10: dropped",
        ),
        ({"size": [-2, -2], "counts": [0, 4]}, "has run lengths for an image of -2x-2: dropped"),
        ({"size": [0, 0], "counts": "0"}, "has run lengths for an image of 0x0: dropped"),
        ([[0, 0, 1e12, 0, 1e12, 1e12]], "has a corner further away than 1000000 pixels: dropped"),
        ({"size": [2], "counts": [4]}, "has run lengths that can't be read: dropped"),
        ({"counts": [4]}, "has run lengths that can't be read: dropped"),
        ({"size": [2, 2]}, "has run lengths that can't be read: dropped"),
        ({"size": [2, 2], "counts": ""}, "has run lengths that can't be read: dropped"),
        ({"size": [2, 2], "counts": "P"}, "has run lengths that can't be read: dropped"),  # goes on, and ends
        ({"size": [2, 2], "counts": "~~"}, "has run lengths that can't be read: dropped"),
        ({"size": [2, 2], "counts": "ooooooooo0"}, "has run lengths that can't be read: dropped"),  # 50 bits
        ({"size": [2, 2], "counts": "ä"}, "has run lengths that can't be read: dropped"),
        ({"size": [2, 2], "counts": "x"}, "has run lengths that can't be read: dropped"),
    ],
)
def test_what_is_no_outline_is_told(stored: Any, problem: str) -> None:
    outline = read_outline(stored)
    assert outline.problem == problem
    assert not outline.usable


def test_what_is_left_of_polygons_is_kept() -> None:
    good = [1, 1, 5, 1, 5, 4]
    outline = read_outline([[1, 1, 2, 2], good, [0, 0]])
    assert outline.problem == "has 2 points, and a polygon needs three: dropped; 1 of its 3 polygons are left"
    np.testing.assert_array_equal(painted(outline, (6, 8)), judged([good], (6, 8)))
