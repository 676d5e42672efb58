"""Images that lie many in a file, as the data sets of courses do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.readers.class_names import whole_image_truth
from vision_tasks.types import Labels, Sample

Images = NDArray[np.uint8]  # [N,h,w] grey, or [N,h,w,3] RGB


class PackedImages:
    """The images of one file: read when the first is asked for, once, whichever threads ask, and then shared."""

    def __init__(self, path: Path, read: Callable[[], Images]) -> None:
        self.path = path
        self._read = read
        self._lock = Lock()
        self._images: Images | None = None

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """One image as a copy [h,w,3]. Raises UserError if the file can't be read."""
        with self._lock:
            if self._images is None:
                self._images = self._read()
        image = self._images[index]
        return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else np.array(image, order="C")


def packed_samples(
    split: str, images: PackedImages, labels: Sequence[int], classes: Sequence[str], start: int = 0
) -> tuple[Sample[Labels], ...]:
    """A sample for each image of a file; they are numbered on from `start`, where a split has several files."""
    return tuple(
        Sample(
            f"{split}/{start + i:05}",
            images.path,
            partial(whole_image_truth, (label,), len(classes)),
            classes[label],
            partial(images.rgb, i),
        )
        for i, label in enumerate(labels)
    )
