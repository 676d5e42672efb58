"""Group normalisation in the place of batch normalisation: every image by its own statistics (Wu and He 2018)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.batch_norm import BatchNorm2d

MOST_GROUPS = 32
LEAST_CHANNELS = 4  # of a group: fewer are close to one channel by itself, which loses how strong it is


def groups_of(channels: int) -> int:
    """The most groups, up to 32 and a power of two, into which `channels` can be divided by four or more."""
    group = MOST_GROUPS
    while group > 1 and (channels % group or channels < LEAST_CHANNELS * group):
        group //= 2
    return group


def normalise_by_groups(model: TaskModel[Any]) -> None:
    """Replace every batch normalisation of an untrained model, in place.

    Raises UserError for a model that has none, or one of another package's own.
    """
    found = [
        (parent, name, norm)
        for parent in model.modules()
        for name, norm in parent.named_children()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    ]
    if not found or any(type(norm) not in (nn.BatchNorm2d, BatchNorm2d) for *_, norm in found):
        what = "a batch normalisation of its own kind" if found else "no batch normalisation"
        raise UserError(f"norm=group: {model.info.name} has {what}; leave it out")
    for parent, name, norm in found:
        setattr(parent, name, nn.GroupNorm(groups_of(norm.num_features), norm.num_features, norm.eps))


def was_normalised_by_batches(tensors: Iterable[str]) -> bool:
    """Whether tensors of these names are of a network with batch normalisation."""
    return any(name.endswith("running_mean") for name in tensors)
