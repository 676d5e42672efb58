"""Random erasing: a rectangle of the canvas is painted over (Zhong, Zheng, Kang, Li, Yang: Random Erasing Data
Augmentation, AAAI 2020, arXiv 1708.04896).

It is painted in the grey of the border, which a letterboxed network has learnt to see nothing in, and not in noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision_tasks.config import Range
from vision_tasks.types import Size

ASPECT: Range = (0.3, 1 / 0.3)  # width / height, drawn as a log


def rectangles(draws: NDArray[np.float64], canvas: Size, area: Range) -> NDArray[np.int64]:
    """xyxy [B,4] of rectangles inside the canvas from `draws` [B,4] (area, aspect, left, top), in whole pixels.

    Their share of the canvas is uniform in `area`. The paper draws area and aspect again until the rectangle fits; here
    the aspect is drawn among those that fit, which is the same for each area, and prefers no small ones.
    """
    height, width = canvas
    pixels = (area[0] + draws[:, 0] * (area[1] - area[0])).clip(max=1) * height * width
    low, high = (np.clip(end, pixels / height**2, width**2 / pixels) for end in ASPECT)
    aspect = low * (high / low) ** draws[:, 1]
    across = np.rint(np.sqrt(pixels * aspect)).clip(1, width)
    down = np.rint(np.sqrt(pixels / aspect)).clip(1, height)
    left, top = np.floor(draws[:, 2] * (width - across + 1)), np.floor(draws[:, 3] * (height - down + 1))
    return np.stack([left, top, left + across, top + down], axis=1).astype(np.int64)
