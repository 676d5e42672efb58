"""Tiles of an image: which pixels each has to itself, and which it shares."""

from __future__ import annotations

import numpy as np
import pytest

from vision_tasks.tasks.tiling import OnDemand, Tile, tiles_of


@pytest.mark.parametrize("side", [1, 2, 3, 5, 16, 33, 64, 100])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 99, 100, 101, 113, 150, 1000])
def test_parts_are_where_tiles_count_and_say_how_many_do(length: int, side: int) -> None:
    counted, told = np.zeros(length, int), np.zeros(length, int)
    for tile in tiles_of((1, length), side):
        assert tile.parts[0] == [(0, 1, 1)]
        weight = np.zeros(length)
        weight[tile.region[0] : tile.region[2]] = tile.weight[1]
        seen = np.zeros(length, bool)
        for start, end, tiles in tile.parts[1]:
            assert tile.region[0] <= start < end <= tile.region[2]
            assert tiles == 2 or (weight[start:end] == 1).all()
            counted[start:end] += 1
            told[start:end] = tiles
            seen[start:end] = True
        assert (weight[~seen] == 0).all()
    assert (counted == told).all()
    assert set(counted) <= {1, 2}


def test_one_part_is_the_whole_image() -> None:
    assert Tile.whole((30, 50)).parts == ([(0, 30, 1)], [(0, 50, 1)])
    assert [(w == 1).all() for w in Tile.whole((30, 50)).weight] == [True, True]


def test_an_image_of_millions_of_tiles_is_divided_at_once() -> None:
    tiles = tiles_of((100_000, 100_000), 64)
    assert len(tiles) == 2083**2
    assert tiles[-1].region == (99_936, 99_936, 100_000, 100_000)


def test_items_are_made_on_demand() -> None:
    made: list[int] = []
    squares = OnDemand(5, lambda i: made.append(i) or i * i)
    assert len(squares) == 5
    assert not made
    assert [squares[3], squares[-1], squares[1:3], list(squares)] == [9, 16, [1, 4], [0, 1, 4, 9, 16]]
    with pytest.raises(IndexError):
        squares[5]
