"""Masks of tiles: memory holds what fades into the next tiles, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vision_tasks.tasks.mask_tiles import MASK_TILES
from vision_tasks.tasks.tiling import tiles_of
from vision_tasks.types import Masks


@pytest.mark.parametrize("size", [(40, 40), (70, 64), (64, 70), (150, 131), (200, 40), (300, 333)])
def test_masks_are_the_weighted_vote_of_all_tiles(size: tuple[int, int], tmp_path: Path) -> None:
    """Tiles that contradict one another: a float64 sum over the whole image decides as the rows in memory do."""
    classes, luck = 5, torch.Generator().manual_seed(0)
    total = np.zeros((classes, *size))
    with MASK_TILES.open(tmp_path, size, classes) as stitching:
        for tile in tiles_of(size, 64):
            x0, y0, x1, y1 = tile.region
            probability = torch.rand(1, classes, y1 - y0, x1 - x0, generator=luck).softmax(dim=1)
            stitching.add(tile, Masks(probability.argmax(dim=1).to(torch.uint8), classes, probability))
            down, across = (weight.double().numpy() for weight in tile.weight)
            total[:, y0:y1, x0:x1] += probability[0].double().numpy() * np.outer(down, across)
        found = stitching.result().index[0].numpy()
        np.testing.assert_array_equal(stitching.shrunk(3).index[0].numpy(), found[::3, ::3])
        first, second = np.sort(total, axis=0)[[-1, -2]]
        clear = first - second > 1e-6  # single precision decides the others as it will
        assert clear.mean() > 0.999
        np.testing.assert_array_equal(found[clear], total.argmax(axis=0)[clear])


_MEASURED = """
import resource, sys
import torch
from pathlib import Path
from vision_tasks.tasks.mask_tiles import MASK_TILES
from vision_tasks.tasks.tiling import tiles_of
from vision_tasks.types import Masks

size, classes = (200, 6000), 60
index, probability = torch.zeros(1, 128, 128, dtype=torch.uint8), torch.zeros(1, classes, 128, 128)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with MASK_TILES.open(Path(sys.argv[1]), size, classes) as stitching:
    for tile in tiles_of(size, 128):
        stitching.add(tile, Masks(index, classes, probability))
    stitching.result()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_memory_holds_the_seams_of_a_row_and_not_the_row(tmp_path: Path) -> None:
    """60 classes of a row of tiles, 128 x 6,000 pixels, would take 184 MB; of 16 x 6,000 they take 23."""
    command = [sys.executable, "-c", _MEASURED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000
