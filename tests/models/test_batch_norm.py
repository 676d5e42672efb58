"""Batch normalisation of single values against torch's own."""

import pytest
import torch
from torch import nn

from vision_tasks.models.batch_norm import BatchNorm2d, allow_single_values


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
