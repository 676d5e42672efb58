"""The images that came out worst, as a picture: predicted once more, each beside its truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vision_tasks.data.decode import DecodeError
from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import Inference, fitted_plans, in_original_pixels
from vision_tasks.engine.upright import upright
from vision_tasks.files import replacing
from vision_tasks.tasks.base import Compare
from vision_tasks.types import Bands, InputSpec, Sample, T
from vision_tasks.warp import Pixels

_GAP = 12  # pixels between rows


def predicted_again(model: Inference[T], spec: InputSpec, samples: Sequence[Sample[T]], position: int) -> T | None:
    """The prediction for the sample at `position`, in its original's pixels; None if it can't be read any more."""
    plans = fitted_plans(1, spec, 1)
    loader: Loader[T] = Loader(
        [samples[position]], plans, spec.canvas, spec.canvas, spec.bands, truth="none", device=model.device
    )
    (batch,) = loader
    return next(in_original_pixels(model(batch.images), batch)) if len(batch) else None


def write_worst(
    path: Path,
    compare: Compare[T],
    worst: Sequence[Mapping[str, Any]],
    samples: Sequence[Sample[T]],
    predict: Callable[[int], T | None],
    classes: Sequence[str],
    bands: Bands | None = None,
) -> bool:
    """Draw the images of `worst`, a row each, into the file `path`; returns whether there was any to draw.

    `worst` are rows `{"image": sample id, score: value}`, the worst first; `predict` gives the prediction for the
    sample at a position, in its original's pixels. Images that can't be read have no row.
    """
    positions = {sample.id: position for position, sample in enumerate(samples)}
    rows: list[Pixels] = []
    for rank, entry in enumerate(worst, 1):
        position = positions[entry["image"]]
        try:
            pixels = upright(samples[position], bands)
            truth = samples[position].truth((pixels.shape[0], pixels.shape[1]))
        except DecodeError:
            continue
        prediction = predict(position)
        if prediction is not None:
            rows.append(compare(pixels, prediction.to("cpu"), truth, classes, _title(rank, entry)))
    if rows:
        _save(path, rows)
    else:
        path.unlink(missing_ok=True)  # an earlier one would be taken for this evaluation's
    return bool(rows)


def _title(rank: int, entry: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in entry.items() if name != "image")
    return f"{rank}. {scores}: {entry['image']}"


def _save(path: Path, rows: Sequence[Pixels]) -> None:
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    with replacing(path) as temporary:
        Image.fromarray(np.concatenate(padded)).save(temporary, "PNG", compress_level=3)
