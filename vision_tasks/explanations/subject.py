"""What of a prediction is explained: the score of one class, of one box, or of the pixels of one class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import ModelInfo
from vision_tasks.types import Boxes, Labels, Masks, Targets

_BACKGROUND = "background"  # a class that nobody asks about


@dataclass(frozen=True)
class Wish:
    """What the user asks about; where nothing is said, about what the network is surest of."""

    label: str | None = None  # name of a class
    box: int = 1  # the number of a box among those that are found, or found of `label`; 1 is the surest


@dataclass(frozen=True)
class Subject:
    """One number that a network gives for an image, and what it stands for."""

    score: Tensor  # scalar, with its gradient
    label: int
    text: str  # in words
    box: tuple[float, float, float, float] | None = None  # xyxy in canvas pixels
    region: NDArray[np.bool_] | None = None  # [H,W], pixels of the canvas that are predicted as `label`


@singledispatch
def subject_of(found: Targets, wish: Wish, info: ModelInfo) -> Subject | None:
    """What of `found`, the evidence for one image (B = 1), is explained; None where there is nothing of the kind.

    Raises UserError for a class that the network doesn't know.
    """
    raise NotImplementedError(type(found))


@subject_of.register
def _class(found: Labels, wish: Wish, info: ModelInfo) -> Subject:
    logits = found.weight[0]
    label = _number(wish, info)
    label = int(logits.argmax()) if label is None else label
    probability = logits.softmax(dim=0) if info.exclusive else logits.sigmoid()
    return Subject(logits[label], label, f"{info.classes[label]} {probability[label].item():.2f}")


@subject_of.register
def _box(found: Boxes, wish: Wish, info: ModelInfo) -> Subject | None:
    if wish.box < 1:
        raise UserError(f"--box {wish.box}: boxes are counted from 1, the surest")
    boxes, label = found.flat(), _number(wish, info)
    assert boxes.score is not None
    order = boxes.score[0].argsort(descending=True, stable=True).tolist()
    rows = [row for row in order if label is None or boxes.label[0, row] == label]
    if len(rows) < wish.box:
        return None
    row = rows[wish.box - 1]
    number, score = int(boxes.label[0, row]), boxes.score[0, row]
    x0, y0, x1, y1 = boxes.xyxy[0, row].tolist()
    return Subject(score, number, f"{info.classes[number]} {score.item():.2f}", (x0, y0, x1, y1))


@subject_of.register
def _pixels(found: Masks, wish: Wish, info: ModelInfo) -> Subject | None:
    assert found.probability is not None
    label = _number(wish, info)
    if label is None:
        area = found.counts(len(info.classes))
        things = [number for number, name in enumerate(info.classes) if name != _BACKGROUND and area[number]]
        label = max(things, key=lambda number: area[number].item()) if things else int(area.argmax())
    region = found.index[0] == label
    if not region.any():
        return None
    share = region.float().mean().item()
    score = found.probability[0, label][region].sum()
    return Subject(score, label, f"{info.classes[label]}, {share:.0%} of the canvas", region=region.cpu().numpy())


def _number(wish: Wish, info: ModelInfo) -> int | None:
    if wish.label is None:
        return None
    if wish.label not in info.classes:
        raise unknown_name("class", wish.label, info.classes)
    return info.classes.index(wish.label)
