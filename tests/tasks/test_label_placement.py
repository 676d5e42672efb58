"""Labels lie inside the picture and on no other label, beside their box where there is room."""

import numpy as np
import pytest

from vision_tasks.tasks.label_placement import place_labels

SIZE = (200, 100)  # width, height


def placed(plates, boxes, size=SIZE):
    return place_labels(np.array(plates, float).reshape(-1, 2), np.array(boxes, float).reshape(-1, 4), size)


@pytest.mark.parametrize(
    ("box", "corner"),
    [
        ((50, 40, 120, 80), (50, 30)),  # above
        ((50, 0, 120, 80), (50, 0)),  # no room above: inside a large box
        ((50, 0, 80, 15), (50, 15)),  # below a small one
        ((180, 40, 200, 80), (170, 30)),  # pushed in from the right
        ((0, 0, 200, 100), (0, 0)),  # the box is the picture
    ],
)
def test_one_label(box, corner):
    """A plate of 30 x 10."""
    assert placed([(30, 10)], [box]) == [corner]


def test_a_label_goes_where_it_hides_no_other_box():
    small, below = (50, 28, 90, 40), (50, 45, 100, 90)
    assert placed([(30, 10), (30, 10)], [below, small]) == [(50, 90), (50, 18)]


def test_the_first_has_the_choice():
    box = (50, 40, 120, 80)
    first, second = placed([(30, 10)] * 2, [box] * 2)
    assert first == (50, 30)
    assert second == (90, 30)


def test_no_room():
    assert placed([(201, 10)], [(0, 0, 50, 50)]) == [None]
    assert placed([(10, 101)], [(0, 0, 50, 50)]) == [None]
    assert placed([(200, 60)] * 2, [(0, 0, 200, 100)] * 2) == [(0, 0), None]
    assert placed([], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_a_crowd_are_apart_and_inside(seed):
    """Counted pixel by pixel."""
    luck = np.random.default_rng(seed)
    corner = luck.integers(-5, 195, (60, 2)) * (1, 0.5)
    boxes = np.hstack([corner, corner + luck.integers(1, 60, (60, 2))])
    plates = luck.integers(5, 40, (60, 2)) * (1, 0.3)
    covered = np.zeros((1000, 2000), int)  # tenths of a pixel
    found = placed(plates, boxes)
    for place, plate in zip(found, plates, strict=True):
        if place is not None:
            (x0, y0), (x1, y1) = np.round(np.array(place) * 10), np.round((place + plate) * 10)
            assert 0 <= x0 < x1 <= 2000
            assert 0 <= y0 < y1 <= 1000
            covered[int(y0) : int(y1), int(x0) : int(x1)] += 1
    assert covered.max() == 1
    assert sum(place is not None for place in found) > 20
