"""Erased rectangles: inside, of the share and shape that were asked for."""

import numpy as np
import pytest
import scipy.stats

from vision_tasks import luck
from vision_tasks.augment.erase import rectangles

DRAWS = luck.uniform(0, "test", 0, luck.keys(map(str, range(4000))), 4)


def sides(found):
    return found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]


def test_by_hand():
    """A tenth of 100 x 100 px is 1000 px; with the middle of the draws it is square, and in the middle."""
    draws = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.0, 0.0, 0.999], [0.5, 1.0, 0.999, 0.0]])
    found = rectangles(draws, (100, 100), (0.05, 0.15)).tolist()
    assert found[0] == [34, 34, 66, 66]
    assert found[1] == [0, 42, 17, 100]  # sqrt(300) x sqrt(1000 / 0.3)
    assert found[2] == [42, 0, 100, 17]


@pytest.mark.parametrize("canvas", [(400, 400), (300, 500), (1000, 200)])
def test_shares_are_uniform_and_rectangles_inside(canvas):
    height, width = canvas
    found = rectangles(DRAWS, canvas, (0.02, 0.33))
    across, down = sides(found)
    assert (found >= 0).all()
    assert (found[:, 2] <= width).all()
    assert (found[:, 3] <= height).all()
    shares = (across * down / (height * width)).clip(0.02, 0.33)
    assert scipy.stats.kstest(shares, "uniform", (0.02, 0.31)).pvalue > 0.01
    aspect = across / down
    assert aspect.min() > 0.3 * 0.97
    assert aspect.max() < 3.34 * 1.03


def test_aspects_are_uniform_in_logarithms_and_places_uniform():
    across, down = sides(rectangles(DRAWS, (1000, 1000), (0.05, 0.05)))
    aspect = np.log(across / down) / np.log(1 / 0.3)
    assert scipy.stats.kstest(aspect, "uniform", (-1, 2)).pvalue > 0.01
    found = rectangles(DRAWS, (1000, 1000), (0.05, 0.05))
    for start, length in ((found[:, 0], across), (found[:, 1], down)):
        assert scipy.stats.kstest(start / (1000 - length), "uniform").pvalue > 0.01


def test_all_of_the_canvas_and_next_to_nothing():
    assert rectangles(DRAWS[:50], (30, 70), (1.0, 1.0)).tolist() == [[0, 0, 70, 30]] * 50
    across, down = sides(rectangles(DRAWS, (30, 70), (1e-9, 1e-9)))
    assert (across == 1).all()
    assert (down == 1).all()


def test_an_empty_batch_has_none():
    assert rectangles(DRAWS[:0], (30, 70), (0.1, 0.2)).shape == (0, 4)
