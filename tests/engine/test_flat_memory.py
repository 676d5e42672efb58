"""Memory is that of a few batches, however many images there are, for every format."""

import sys

import pytest

from benchmarks.folder_memory import CASES, FEW, most_memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.task}-{case.formats}")
def test_memory_is_flat(case, tmp_path):
    count = 20_000 // case.share
    few = most_memory(case, tmp_path / "few", FEW)
    many = most_memory(case, tmp_path / "many", count)
    assert many < 1.1 * few, f"{few} KiB with {FEW} images, {many} KiB with {count}"
