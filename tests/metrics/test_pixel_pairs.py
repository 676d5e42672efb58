"""Against numpy's counting, one pixel at a time."""

import numpy as np
import pytest
import torch

from vision_tasks.metrics import pixel_pairs
from vision_tasks.metrics.pixel_pairs import pair_counts


def counted(truth: torch.Tensor, predicted: torch.Tensor) -> np.ndarray:
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (truth.numpy(), predicted.numpy()), 1)
    return expected


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (61, 17)])
def test_every_value_is_counted_the_same_on_a_cpu_and_by_what_devices_do(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(size[0])
    truth, predicted = (torch.randint(0, 256, size, dtype=torch.uint8, generator=generator) for _ in range(2))
    for count in (pair_counts, pixel_pairs._counted):
        found = count(truth, predicted)
        assert found.dtype == torch.int64
        np.testing.assert_array_equal(found.numpy(), counted(truth, predicted))


def test_masks_that_are_not_contiguous_are_counted() -> None:
    whole = torch.arange(240, dtype=torch.uint8).view(12, 20)
    truth, predicted = whole[::2, ::3], whole.T[:7, :6].T
    np.testing.assert_array_equal(pair_counts(truth, predicted).numpy(), counted(truth, predicted))


def test_more_pixels_than_a_float_counts_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_pairs, "_AT_ONCE", 7)
    truth, predicted = torch.full((5, 9), 2, dtype=torch.uint8), torch.full((5, 9), 250, dtype=torch.uint8)
    found = pair_counts(truth, predicted)
    assert (found[2, 250].item(), found.sum().item()) == (45, 45)


def test_the_count_of_one_pair_is_exact_up_to_where_parts_end() -> None:
    size = (4096, 4097)  # one row of pixels beyond 2^24
    zeros = torch.zeros(size, dtype=torch.uint8)
    assert pair_counts(zeros, zeros)[0, 0].item() == 4096 * 4097
