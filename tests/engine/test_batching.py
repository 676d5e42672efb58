"""An epoch is cut without loss, evenly, and the same images make a step however it is shared."""

import numpy as np
import pytest

from vision_tasks.engine.batching import cut, steps_per_epoch
from vision_tasks.errors import UserError

ORDER = np.random.default_rng(0).permutation(103)


def steps_of(parts):
    """The samples of each step, in order."""
    steps = [[]]
    for part in parts:
        steps[-1] += part.samples.tolist()
        if part.ends_step:
            steps.append([])
    assert steps.pop() == []
    return steps


def test_every_sample_once_and_steps_as_equal_as_can_be():
    parts = cut(ORDER, 10)
    assert sorted(np.concatenate([part.samples for part in parts])) == list(range(103))
    assert sorted({len(part.samples) for part in parts}) == [9, 10]
    assert len(parts) == steps_per_epoch(103, 10, 1) == 11
    assert all(part.share == 1 and part.ends_step for part in parts)


def test_accumulated_batches_make_the_steps_of_large_ones():
    parts = cut(ORDER, 5, accumulate=4)
    assert steps_of(parts) == [part.samples.tolist() for part in cut(ORDER, 20)]
    assert [part.ends_step for part in parts[:4]] == [False, False, False, True]
    assert sum(part.share for part in parts[:4]) == pytest.approx(1)


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 2), (3, 2), (1, 4)])
def test_processes_share_the_same_steps(accumulate, processes):
    whole = cut(ORDER, 12, accumulate)
    ranks = [cut(ORDER, 12, accumulate, processes, rank) for rank in range(processes)]
    for part, *shared in zip(whole, *ranks, strict=True):
        assert np.concatenate([own.samples for own in shared]).tolist() == part.samples.tolist()
        assert sum(own.share for own in shared) == pytest.approx(part.share)
        assert {own.ends_step for own in shared} == {part.ends_step}


def test_too_few_images_for_all_processes():
    with pytest.raises(UserError, match="can't be shared by 4 processes"):
        cut(ORDER[:3], 8, processes=4)


def test_fewer_images_than_batches_to_add_up():
    assert [part.samples.tolist() for part in cut(np.array([4, 2]), 1, accumulate=3)] == [[4], [2]]
