"""Batch normalisation of single values against torch's own."""

import pytest
import torch
from torch import nn

from vision_tasks.models.batch_norm import BatchNorm2d, allow_single_values, settle_within


def test_it_is_torchs_except_for_single_values() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.3)))
    ours = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=1e-3, momentum=0.3)))
    ours.load_state_dict(theirs.state_dict())
    before = list(ours.parameters())
    allow_single_values(ours)
    assert isinstance(ours[1][0], BatchNorm2d)
    assert all(own is old for own, old in zip(ours.parameters(), before, strict=True))
    images = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(ours.train()(images), theirs.train()(images))
    assert all(torch.equal(own, other) for own, other in zip(ours.buffers(), theirs.buffers(), strict=True))
    one = torch.rand(1, 3, 1, 1)
    statistics = [buffer.clone() for buffer in ours.buffers()]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs(one)
    torch.testing.assert_close(ours(one), theirs.eval()(one))
    assert ours[1][0].training
    assert all(torch.equal(own, old) for own, old in zip(ours.buffers(), statistics, strict=True))


def test_statistics_settle_within_the_training() -> None:
    images = torch.full((4, 2, 3, 3), 5.0) + torch.linspace(-1, 1, 4)[:, None, None, None]
    slow, settled = (nn.Sequential(nn.BatchNorm2d(2, momentum=0.01)) for _ in range(2))
    settle_within(settled, 200)
    for net in (slow, settled):
        for _ in range(200):
            net.train()(images)
    assert slow[0].running_mean == pytest.approx([5 * (1 - 0.99**200)] * 2, rel=1e-5)  # 4.33
    assert settled[0].running_mean == pytest.approx([5.0] * 2, rel=1e-5)


def test_no_statistics_are_made_to_look_back_over_more_or_over_less_than_torchs() -> None:
    for before, batches, after in ((0.01, 100_000, 0.01), (0.01, 1000, 0.02), (0.3, 10, 0.3), (0.01, 10, 0.1)):
        net = nn.BatchNorm2d(2, momentum=before)
        settle_within(net, batches)
        assert net.momentum == pytest.approx(after)
    means = nn.BatchNorm2d(2, momentum=None)
    settle_within(means, 10)
    assert means.momentum is None
