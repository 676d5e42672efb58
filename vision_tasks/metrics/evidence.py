"""The evidence of a metric in a file: plain arrays, compressed, nothing that would be run when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vision_tasks.errors import UserError
from vision_tasks.files import replacing
from vision_tasks.metrics.base import Evidence
from vision_tasks.metrics.classification import ClassificationEvidence
from vision_tasks.metrics.detection import DetectionEvidence
from vision_tasks.metrics.many_labels import ManyLabelEvidence
from vision_tasks.metrics.segmentation import SegmentationEvidence


class _Kind(Protocol):
    def of(self, images: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> Evidence: ...


_KINDS: Mapping[str, _Kind] = {
    kind.__name__: kind for kind in (ClassificationEvidence, ManyLabelEvidence, SegmentationEvidence, DetectionEvidence)
}
_KIND, _IMAGES = "kind", "images"  # beside the arrays, as UTF-8


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Replace the file `path`, which is in the format of NumPy's `.npz`."""
    texts = {_KIND: type(evidence).__name__, _IMAGES: json.dumps(evidence.images)}
    letters = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **letters, **evidence.arrays())  # type: ignore[arg-type]  # no option is called so


def read_evidence(path: Path) -> Evidence:
    """What `write_evidence` wrote. Raises UserError for a file that is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        kind, images = (bytes(arrays.pop(name)).decode() for name in (_KIND, _IMAGES))
        return _KINDS[kind].of(tuple(json.loads(images)), arrays)
    except Exception as error:  # of many types: zip, zlib, NumPy and JSON have their own
        raise UserError(f"{path} can't be read ({error}); remove its folder, and score the model again") from error
