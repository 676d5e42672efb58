"""The original of a sample as a person would see it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vision_tasks.data.decode import decode, read_image
from vision_tasks.data.windows import turned
from vision_tasks.types import Bands, Sample
from vision_tasks.warp import Pixels


def upright(sample: Sample[Any], bands: Bands | None) -> Pixels:
    """RGB [H,W,3], turned as EXIF says; of many bands the first three, of fewer the first as grey.

    Raises DecodeError.
    """
    if sample.pixels is not None:
        return sample.pixels()
    shown = bands and replace(bands, numbers=(bands.numbers[:3] if len(bands.numbers) > 2 else bands.numbers[:1] * 3))
    decoded = decode(sample.data(), bands=shown) if sample.data else read_image(sample.path, bands=shown)
    return np.ascontiguousarray(turned(decoded))
