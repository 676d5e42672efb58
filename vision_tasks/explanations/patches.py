"""The patches of images that excite one filter most.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4: of each image its
strongest activation, of all images the nine strongest, each as what that place of the layer sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import fitted_plans, nothing_readable
from vision_tasks.engine.progress import progress, say
from vision_tasks.explanations.layers import Layer, maps_of
from vision_tasks.explanations.pictures import grid
from vision_tasks.explanations.receptive_field import receptive_fields
from vision_tasks.models.base import TaskModel
from vision_tasks.types import Failure, InputSpec, Region, Sample
from vision_tasks.warp import Pixels

_SHOWN = 9
_BATCH = 16


@dataclass(frozen=True)
class Patch:
    """A part of one image's canvas."""

    image: str  # id of its sample
    activation: float
    region: Region  # of the canvas: the receptive field
    pixels: Pixels  # [h,w,3]


@dataclass(frozen=True)
class _Peak:
    image: str
    activation: float
    place: tuple[int, int]  # row and column of the map
    canvas: Tensor  # [C,H,W]


def strongest_patches(
    model: TaskModel[Any], layer: Layer, number: int, samples: Sequence[Sample[Any]], spec: InputSpec
) -> list[Patch]:
    """What excites the filter `number` of `layer` most in `samples`, the strongest first; at most nine.

    Images that can't be read are told and left out; raises UserError if none can be.
    """
    device = next(model.parameters()).device
    plans = fitted_plans(len(samples), spec, _BATCH)
    loader = Loader(samples, plans, spec.canvas, spec.canvas, spec.bands, truth="none", device=device)
    peaks: list[_Peak] = []
    failures: list[Failure] = []
    with progress("looking for patches", len(samples)) as bar:
        for batch in loader:
            failures += batch.failures
            if len(batch):
                maps = maps_of(model, layer, batch.images)[:, number]
                peaks = _best([*peaks, *_peaks([info.id for info in batch.info], maps, batch.images)])
            bar.advance(len(batch) + len(batch.failures))
    for failure in failures:
        say(f"left out, cannot be read: {failure.path}: {failure.reason}")
    if not peaks:
        raise nothing_readable(failures)
    return _cut(model, layer, number, peaks)


def patches_picture(layer: Layer, number: int, patches: Sequence[Patch]) -> Pixels:
    """The patches in a square, with the activation below each."""
    height, width = (max(patch.pixels.shape[axis] for patch in patches) for axis in (0, 1))
    title = f"{layer.name}, filter {number}: the {len(patches)} strongest, up to {width}x{height} pixels"
    return grid([patch.pixels for patch in patches], [f"{patch.activation:.3g}" for patch in patches], title, side=128)


def _peaks(images: Sequence[str], maps: Tensor, canvases: Tensor) -> list[_Peak]:
    """The strongest place of each map [B,h,w]."""
    greatest = maps.flatten(1).max(dim=1)
    width = maps.shape[2]
    return [
        _Peak(image, value, divmod(place, width), canvas.cpu())
        for image, value, place, canvas in zip(
            images, greatest.values.tolist(), greatest.indices.tolist(), canvases, strict=True
        )
    ]


def _best(peaks: list[_Peak]) -> list[_Peak]:
    return sorted(peaks, key=lambda peak: -peak.activation)[:_SHOWN]


def _cut(model: TaskModel[Any], layer: Layer, number: int, peaks: Sequence[_Peak]) -> list[Patch]:
    def run(images: Tensor) -> Tensor:
        return maps_of(model, layer, images)[:, number]

    blank = peaks[0].canvas.new_zeros((1, *peaks[0].canvas.shape)).to(next(model.parameters()).device)
    fields = receptive_fields(run, blank, [peak.place for peak in peaks])
    return [
        Patch(peak.image, peak.activation, field, _visible(peak.canvas, field))
        for peak, field in zip(peaks, fields, strict=True)
    ]


def _visible(canvas: Tensor, region: Region) -> Pixels:
    """RGB [h,w,3] of a part of a canvas [C,H,W]; of many bands the first three, of fewer the first as grey."""
    x0, y0, x1, y1 = region
    shown = canvas[:3] if len(canvas) > 2 else canvas[:1].expand(3, -1, -1)
    part: Pixels = np.rint(shown[:, y0:y1, x0:x1].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return part
