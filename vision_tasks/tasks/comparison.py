"""A predicted mask beside its truth: the image, both, and where they differ, in one row with legends."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.tasks.drawing import Colour, class_colour, with_bar
from vision_tasks.types import IGNORE, Masks
from vision_tasks.warp import Pixels

Index = NDArray[np.uint8]  # [H,W]
Entry = tuple[str, Colour]  # of a legend

_SIDE = 560  # pixels: panels are shrunk to it, or enlarged to half of it or more
_TITLE = (24, 48)  # characters at each end, if it is longer: it begins with a score and ends with a name
_PLAIN: Colour = (24, 24, 24)
_NO_CLASS: Colour = (128, 128, 128)
_NOT_COUNTED: Colour = (60, 60, 60)
_MISSED: Colour = (0, 150, 255)
_FALSE_ALARM: Colour = (255, 110, 0)
_OTHER_CLASS: Colour = (230, 0, 200)


def masks_beside(pixels: Pixels, prediction: Masks, truth: Masks, classes: Sequence[str], title: str) -> Pixels:
    """A row of image, truth, prediction and errors [h,w,3], from `pixels` [H,W,3] and masks of the same size (B = 1).

    A class `background` is left as it is. An error is an object that is missed, one seen where there is none, or a
    class taken for another; without a background, or where nothing is predicted, there are only the last two kinds.
    """
    predicted, actual = prediction.index[0].numpy(), truth.index[0].numpy()
    panels = [
        (pixels, [(_shortened(title), _PLAIN)]),
        _classes_on(pixels, actual, classes, "truth", "not counted"),
        _classes_on(pixels, predicted, classes, "prediction", "no class"),
        _errors_on(pixels, predicted, actual, classes),
    ]
    return _side_by_side([np.asarray(with_bar(Image.fromarray(_fitted(panel)), legend)) for panel, legend in panels])


def _shortened(title: str) -> str:
    first, last = _TITLE
    return title if len(title) <= first + last else f"{title[:first]}…{title[-last:]}"


def _classes_on(
    pixels: Pixels, index: Index, classes: Sequence[str], name: str, beyond: str
) -> tuple[Pixels, list[Entry]]:
    """The image under its classes' colours, and what they mean."""
    palette = np.full((256, 3), _NO_CLASS, np.uint8)
    palette[: len(classes)] = [class_colour(i) for i in range(len(classes))]
    blended = cv2.addWeighted(pixels, 0.4, palette[index], 0.6, 0)
    ground = _background(classes)
    shown = [i for i in np.flatnonzero(np.bincount(index.ravel(), minlength=256)).tolist() if i != ground]
    entries = [(classes[i], class_colour(i)) if i < len(classes) else (beyond, _NO_CLASS) for i in shown]
    return np.where((index == ground)[..., None], pixels, blended), [(name, _PLAIN), *entries]


def _errors_on(pixels: Pixels, predicted: Index, actual: Index, classes: Sequence[str]) -> tuple[Pixels, list[Entry]]:
    """The image in faint grey under the colours of the kinds of error, and the share of the counted pixels of each."""
    ground, counted = _background(classes), actual != IGNORE
    wrong = (predicted != actual) & counted
    nothing = (predicted == ground) | (predicted == IGNORE)
    alarm = wrong & ~nothing & (actual == ground)
    kinds = {
        ("missed", _MISSED): wrong & nothing,
        ("false alarm", _FALSE_ALARM): alarm,
        ("other class", _OTHER_CLASS): wrong & ~nothing & ~alarm,
    }
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) // 2 + 64
    picture = np.asarray(np.repeat(grey[..., None], 3, axis=2), np.uint8)
    entries: list[Entry] = [("errors" if wrong.any() else "no errors", _PLAIN)]
    for (name, colour), where in kinds.items():
        picture[where] = colour
        entries += [(f"{name} {where.sum() / counted.sum():.1%}", colour)] if where.any() else []
    picture[~counted] = _NOT_COUNTED
    return picture, entries + ([] if counted.all() else [("not counted", _NOT_COUNTED)])


def _background(classes: Sequence[str]) -> int:
    """The class that is no object; -1 where there is none."""
    return classes.index("background") if "background" in classes else -1


def _fitted(panel: Pixels) -> Pixels:
    """Shrunk by area, so that thin errors are still seen, or enlarged to a multiple."""
    longest = max(panel.shape[:2])
    if longest <= _SIDE:
        factor = _SIDE // longest
        return np.ascontiguousarray(panel.repeat(factor, axis=0).repeat(factor, axis=1))
    height, width = (max(1, round(side * _SIDE / longest)) for side in panel.shape[:2])
    return np.asarray(cv2.resize(panel, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _side_by_side(panels: Sequence[Pixels]) -> Pixels:
    height = max(len(panel) for panel in panels)
    row = np.full((height, sum(panel.shape[1] for panel in panels), 3), _PLAIN, np.uint8)
    left = 0
    for panel in panels:
        row[: len(panel), left : left + panel.shape[1]] = panel
        left += panel.shape[1]
    return row
