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


REGIONS = np.array([LEFT, RIGHT], dtype=float)
TWO_AND_ONE = np.array([(60, 20, 100, 40), (60, 26, 100, 46), (75, 25, 140, 45)], dtype=float)


@pytest.mark.parametrize(("scores", "partner"), [((0.5, 0.5), 1), ((0.6, 0.5), 1), ((0.9, 0.1), 0)])
def test_a_piece_goes_to_the_box_that_it_fits_unless_that_is_hardly_believed_in(scores, partner):
    """In what both tiles see, the piece overlaps the first box by 15 / 25 and the second by 19 / 21."""
    found = grouped(TWO_AND_ONE, np.zeros(3, np.int64), np.array([*scores, 0.9]), np.array([0, 0, 1]), REGIONS)
    assert found[2] == found[partner] != found[1 - partner]


def test_a_worthless_box_takes_no_piece_from_an_object():
    seen = {
        LEFT: [((60, 20, 100, 40), 0, 0.75)],
        RIGHT: [((61, 20, 140, 40), 0, 0.75), ((75, 20, 100, 40), 0, 0.02)],
    }
    assert stitched(seen) == [((61, 20, 140, 40), 0, 0.75), ((75, 20, 100, 40), 0, 0.02)]


def test_a_worthless_box_does_not_stand_for_what_it_disappears_in():
    """It is whole in its tile, and the piece is not; nor does it make the piece larger."""
    seen = {LEFT: [((40, 20, 100, 40), 0, 0.75)], RIGHT: [((77, 18, 110, 40), 0, 0.02)]}
    assert stitched(seen) == [((40, 20, 100, 40), 0, 0.75)]


def test_a_worthless_box_joins_no_two_objects():
    """The left and the right tile see one object each; the middle one sees neither, and something across both."""
    tiles = tiles_of((100, 250), 100)
    assert [tile.region[0] for tile in tiles] == [0, 75, 150]
    seen = {
        (0, 0, 100, 100): [((50, 10, 100, 30), 0, 0.75)],
        (75, 0, 175, 100): [((75, 10, 175, 30), 0, 0.02)],
        (150, 0, 250, 100): [((150, 10, 200, 30), 0, 0.5)],
    }
    assert stitched(seen, size=(100, 250)) == [((50, 10, 100, 30), 0, 0.75), ((150, 10, 200, 30), 0, 0.5)]


def seen_well(objects, size, random):
    """What a good network sees: in each tile the part of each object (box, class, score) in it, to two pixels."""
    seen = {}
    for tile in tiles_of(size, 100):
        low, high = np.array(tile.region[:2]), np.array(tile.region[2:])
        seen[tile.region] = []
        for box, label, score in objects:
            corners = (np.reshape(box, (2, 2)) + random.integers(-2, 3, (2, 2))).clip(low, high)
            if (corners[1] - corners[0]).min() > 8:
                seen[tile.region].append((corners.ravel().tolist(), label, score))
    return seen


def with_noise(seen, random):
    """Boxes of up to 0.12 beside them: about what is there, and anywhere in the tiles."""
    noisy = {}
    for (x0, y0, x1, y1), found in seen.items():
        near = [box + random.integers(-6, 7, 4) for box, _, _ in found for _ in range(5)]
        anywhere = random.uniform((x0, y0, x0, y0), (x1, y1, x1, y1), (30, 4))
        boxes = [np.sort(np.clip(box, (x0, y0) * 2, (x1, y1) * 2).reshape(2, 2), axis=0) for box in [*near, *anywhere]]
        labels, scores = random.integers(2, size=len(boxes)).tolist(), random.uniform(0.001, 0.12, len(boxes)).tolist()
        noise = zip([box.ravel().tolist() for box in boxes], labels, scores, strict=True)
        noisy[x0, y0, x1, y1] = found + [row for row in noise if min(np.subtract(row[0][2:], row[0][:2])) > 1]
    return noisy


@pytest.mark.parametrize("seed", range(20))
def test_noise_changes_nothing_of_what_is_believed(seed):
    random, size = np.random.default_rng(seed), (460, 460)
    corners = [(x, y) for x in range(3, 400, 66) for y in range(3, 400, 66)]
    sides = random.integers(25, 61, (len(corners), 2))
    objects = [
        ((x, y, x + width, y + height), k % 2, 0.5 + k / 99)
        for k, ((x, y), (width, height)) in enumerate(zip(corners, sides.tolist(), strict=True))
    ]
    seen = seen_well(objects, size, random)
    believed = stitched(seen, size=size)
    assert len(believed) == len(objects)
    found = stitched(with_noise(seen, random), size=size)
    assert [row for row in found if row[2].expected > 0.25] == believed
    assert len(found) > 5 * len(believed)


def test_a_shrunken_result_has_the_boxes_of_a_smaller_picture():
    stitching = BoxStitching(SIZE)
    for tile in tiles_of(SIZE, 100):
        stitching.add(tile, boxes([((10, 20, 30, 60), 1, 0.5)] if tile.region == LEFT else []))
    assert rows(stitching.shrunk(4).flat()) == [((2.5, 5.0, 7.5, 15.0), 1, 0.5)]
