"""Boxes of tiles: which are of one object, worked out by hand for tiles of 100 that share 25 or more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vision_tasks.tasks.box_tiles import BoxStitching, grouped
from vision_tasks.tasks.tiling import Tile, tiles_of
from vision_tasks.types import Boxes

SIZE = (175, 175)  # two by two tiles, from 0 and from 75
LEFT, RIGHT = (0, 0, 100, 100), (75, 0, 175, 100)


def stitched(seen, view=(), size=SIZE):
    """What becomes of rows (box in the image's pixels, class, score) by region; a list of the same, the best first."""
    stitching = BoxStitching(size)
    tiles = tiles_of(size, 100)
    assert set(seen) <= {tile.region for tile in tiles}
    for tile in tiles:
        stitching.add(tile, boxes(seen.get(tile.region, ()), tile.region[:2]))
    stitching.add(Tile.whole(size), boxes(view))
    return rows(stitching.result())


def boxes(seen, origin=(0, 0)):
    xyxy = torch.tensor([box for box, _, _ in seen]).reshape(-1, 4).double() - torch.tensor([*origin, *origin])
    return Boxes.stack([
        Boxes.single(xyxy, torch.tensor([label for _, label, _ in seen], dtype=torch.long),
                     score=torch.tensor([score for _, _, score in seen]))
    ])  # fmt: skip


def rows(found):
    listed = zip(found.xyxy[0].tolist(), found.label[0].tolist(), found.score[0].tolist(), strict=True)
    return sorted(((tuple(box), label, pytest.approx(score, abs=1e-6)) for box, label, score in listed),
                  key=lambda row: row[0])  # fmt: skip


def test_no_boxes():
    assert stitched({}) == []


def test_an_object_in_one_tile_stays_as_it_is():
    assert stitched({LEFT: [((10, 20, 30, 40), 1, 0.5)]}) == [((10, 20, 30, 40), 1, 0.5)]


def test_an_object_that_two_tiles_see_whole_is_the_more_certain_box():
    seen = {LEFT: [((78, 20, 96, 40), 0, 0.5)], RIGHT: [((79, 20, 97, 41), 0, 0.75)]}
    assert stitched(seen) == [((79, 20, 97, 41), 0, 0.75)]


def test_an_object_that_one_tile_cuts_is_the_whole_box_with_the_higher_score():
    seen = {LEFT: [((80, 20, 100, 40), 0, 0.75)], RIGHT: [((80, 20, 130, 40), 0, 0.5)]}
    assert stitched(seen) == [((80, 20, 130, 40), 0, 0.75)]


def test_pieces_of_an_object_over_two_tiles_are_put_together():
    """95 pixels wide: what both see is a quarter of either piece, less than half."""
    seen = {LEFT: [((40, 20, 100, 40), 0, 0.5)], RIGHT: [((75, 21, 135, 41), 0, 0.25)]}
    assert stitched(seen) == [((40, 20, 135, 41), 0, 0.5)]


def test_pieces_of_an_object_over_four_tiles_are_put_together():
    seen = {
        (0, 0, 100, 100): [((50, 60, 100, 100), 0, 0.5)],
        (75, 0, 175, 100): [((75, 60, 120, 100), 0, 0.75)],
        (0, 75, 100, 175): [((50, 75, 100, 130), 0, 0.25)],
        (75, 75, 175, 175): [((75, 75, 120, 130), 0, 0.5)],
    }
    assert stitched(seen) == [((50, 60, 120, 130), 0, 0.75)]


def test_an_object_over_three_tiles_whose_middle_is_the_least_certain():
    tiles = tiles_of((100, 250), 100)
    assert [tile.region[0] for tile in tiles] == [0, 75, 150]
    seen = {
        (0, 0, 100, 100): [((60, 10, 100, 30), 0, 0.5)],
        (75, 0, 175, 100): [((75, 10, 175, 30), 0, 0.25)],
        (150, 0, 250, 100): [((150, 10, 200, 30), 0, 0.75)],
    }
    assert stitched(seen, size=(100, 250)) == [((60, 10, 200, 30), 0, 0.75)]


def test_touching_objects_of_one_class_stay_two():
    """They meet at x = 88, in what both tiles see: each tile sees one whole and a piece of the other."""
    seen = {
        LEFT: [((60, 20, 88, 40), 0, 0.75), ((88, 20, 100, 40), 0, 0.25)],
        RIGHT: [((75, 20, 88, 40), 0, 0.25), ((88, 20, 120, 40), 0, 0.5)],
    }
    assert stitched(seen) == [((60, 20, 88, 40), 0, 0.75), ((88, 20, 120, 40), 0, 0.5)]


def test_a_small_object_in_front_of_a_large_one_stays():
    seen = {
        LEFT: [((20, 10, 100, 90), 0, 0.75), ((78, 40, 90, 55), 0, 0.5)],
        RIGHT: [((75, 10, 150, 90), 0, 0.75), ((78, 40, 90, 55), 0, 0.5)],
    }
    assert stitched(seen) == [((20, 10, 150, 90), 0, 0.75), ((78, 40, 90, 55), 0, 0.5)]


def test_objects_of_two_classes_in_one_place_stay_two():
    seen = {LEFT: [((78, 20, 96, 40), 0, 0.5)], RIGHT: [((78, 20, 96, 40), 1, 0.75)]}
    assert stitched(seen) == [((78, 20, 96, 40), 0, 0.5), ((78, 20, 96, 40), 1, 0.75)]


def test_boxes_of_one_tile_are_never_joined():
    seen = {LEFT: [((78, 20, 96, 40), 0, 0.5), ((78, 20, 96, 40.5), 0, 0.25)], RIGHT: [((78, 20, 96, 40), 0, 0.75)]}
    assert stitched(seen) == [((78, 20, 96, 40), 0, 0.75), ((78, 20, 96, 40.5), 0, 0.25)]


def test_small_objects_seen_from_afar_do_not_count():
    assert stitched({}, view=[((10, 10, 109, 30), 0, 0.9)]) == []
    assert len(stitched({}, view=[((10, 10, 111, 30), 0, 0.9)])) == 1


def test_large_objects_seen_from_afar_take_the_place_of_pieces():
    seen = {(0, 0, 100, 100): [((20, 20, 100, 100), 0, 0.75)], (75, 75, 175, 175): [((75, 75, 160, 160), 0, 0.5)]}
    assert stitched(seen, view=[((19, 21, 161, 159), 0, 0.5)]) == [((19, 21, 161, 159), 0, 0.75)]


def test_groups_do_not_depend_on_the_order_of_certainty():
    """The surest pairs are joined first: the piece goes to the box that it fits better."""
    regions = np.array([LEFT, RIGHT], dtype=float)
    xyxy = np.array([(60, 20, 100, 40), (60, 26, 100, 46), (75, 25, 140, 45)], dtype=float)
    found = grouped(xyxy, np.zeros(3, np.int64), np.array([0, 0, 1]), regions)
    assert found[1] == found[2] != found[0]


def test_a_shrunken_result_has_the_boxes_of_a_smaller_picture():
    stitching = BoxStitching(SIZE)
    for tile in tiles_of(SIZE, 100):
        stitching.add(tile, boxes([((10, 20, 30, 60), 1, 0.5)] if tile.region == LEFT else []))
    assert rows(stitching.shrunk(4).flat()) == [((2.5, 5.0, 7.5, 15.0), 1, 0.5)]
