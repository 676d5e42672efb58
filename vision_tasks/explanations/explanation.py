"""Everything that `explain` writes: pictures of a network's filters, maps, patches and reasons, and a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vision_tasks.data.loader import Loader
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.evaluate import fitted_plans, nothing_readable
from vision_tasks.engine.progress import progress, say
from vision_tasks.engine.upright import upright
from vision_tasks.errors import UserError
from vision_tasks.explanations.class_activation import explained
from vision_tasks.explanations.feature_maps import maps_picture
from vision_tasks.explanations.filters import filters_picture, first_convolution
from vision_tasks.explanations.layers import Layer, chosen_layer, layers_of, maps_of
from vision_tasks.explanations.patches import patches_picture, strongest_patches
from vision_tasks.explanations.pictures import heat_on
from vision_tasks.explanations.subject import Subject, Wish
from vision_tasks.files import write_text
from vision_tasks.geometry import scale
from vision_tasks.models.base import TaskModel
from vision_tasks.sampling import sample_bilinear, sample_nearest
from vision_tasks.tasks.drawing import boxes_on, caption, save_picture
from vision_tasks.types import Failure, ImageInfo, InputSpec, Matrix, Sample, Size
from vision_tasks.warp import Pixels

LIST = "explained.jsonl"

_SIDES = (256, 1024)  # pixels: smaller images are drawn on an enlarged copy, larger ones on one that is shrunk
_OUTLINE = (255, 255, 255)


@dataclass(frozen=True)
class Request:
    """What is to be explained."""

    layer: str | None = None  # None: the last block of the backbone
    filter: int | None = None  # of `layer`, whose patches are looked for; None: of none
    wish: Wish = field(default_factory=Wish)


@dataclass
class _Gallery:
    """Pictures in a folder, and what they show, a line each."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, picture: Pixels, **about: Any) -> None:
        save_picture(self.folder / name, Image.fromarray(picture))
        self.rows.append({"file": name, **about})
        write_text(self.folder / LIST, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))


def explain(
    model: TaskModel[Any],
    spec: InputSpec,
    images: Sequence[Sample[Any]],
    searched: Sequence[Sample[Any]],
    out: Path,
    request: Request,
) -> list[Path]:
    """Write pictures of `model`, which is not changed, and of what it makes of `images`, into `out`; returns them.

    Patches that excite `request.filter` most are looked for in `searched`. Raises UserError for a layer, filter or
    class that the model doesn't have, and if no image can be read.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    layers = layers_of(model, torch.zeros(1, spec.channels, *spec.canvas, device=device))
    layer = chosen_layer(layers, request.layer)
    _require_filter(layer, request.filter)
    gallery = _Gallery(out)
    first = first_convolution(model, layers)
    gallery.add("filters.png", filters_picture(model, first), shows="filters", layer=first)
    if request.filter is not None:
        _add_patches(gallery, model, spec, layer, request.filter, searched)
    _add_images(gallery, model, spec, layer, images, request.wish)
    return [out / row["file"] for row in gallery.rows]


def _require_filter(layer: Layer, number: int | None) -> None:
    if number is not None and not 0 <= number < layer.channels:
        raise UserError(f"--filter {number}: {layer.name} has filters 0 to {layer.channels - 1}")


def _add_patches(
    gallery: _Gallery,
    model: TaskModel[Any],
    spec: InputSpec,
    layer: Layer,
    number: int,
    searched: Sequence[Sample[Any]],
) -> None:
    patches = strongest_patches(model, layer, number, searched, spec)
    found = [{"image": each.image, "activation": each.activation, "canvas": each.region} for each in patches]
    about = {"shows": "patches", "layer": layer.name, "filter": number, "patches": found}
    gallery.add("patches.png", patches_picture(layer, number, patches), **about)


def _add_images(
    gallery: _Gallery,
    model: TaskModel[Any],
    spec: InputSpec,
    layer: Layer,
    images: Sequence[Sample[Any]],
    wish: Wish,
) -> None:
    """Maps and activation of each image. Raises UserError if none can be read."""
    failures: list[Failure] = []
    of_name = {sample.id: sample for sample in images}
    with progress("explaining", len(images)) as bar:
        for image, info, failed in _canvases(model, spec, images):
            failures += failed
            if info is not None:
                maps = maps_of(model, layer, image)[0]
                about = {"image": info.id, "layer": layer.name}
                name = f"feature_maps/{info.id}.png"
                gallery.add(name, maps_picture(layer.name, maps), shows="feature maps", **about)
                _add_activation(gallery, model, spec, layer, image, info, of_name[info.id], wish)
            bar.advance(1)
    for failure in failures:
        say(f"left out, cannot be read: {failure.path}: {failure.reason}")
    if len(failures) == len(images):
        raise nothing_readable(failures)


def _canvases(
    model: TaskModel[Any], spec: InputSpec, images: Sequence[Sample[Any]]
) -> Iterator[tuple[Tensor, ImageInfo | None, Iterable[Failure]]]:
    """Each image's canvas [1,C,H,W] and where it came from, or why it can't be read."""
    device = next(model.parameters()).device
    plans = fitted_plans(len(images), spec, 1)
    for batch in Loader(images, plans, spec.canvas, spec.canvas, spec.bands, truth="none", device=device):
        yield batch.images, batch.info[0] if len(batch) else None, batch.failures


def _add_activation(
    gallery: _Gallery,
    model: TaskModel[Any],
    spec: InputSpec,
    layer: Layer,
    image: Tensor,
    info: ImageInfo,
    sample: Sample[Any],
    wish: Wish,
) -> None:
    result = explained(model, layer, image, wish)
    if result is None:
        say(f"{info.id}: nothing of the kind is predicted there, so there is nothing to explain")
        return
    subject, activation = result
    if not activation.any():
        say(f"{info.id}: nothing in {layer.name} speaks for {subject.text}; what does may lie in another --layer")
    try:
        pixels, to_drawn = _drawable(upright(sample, spec.bands), info.placement)
    except DecodeError as error:
        say(f"{info.id}: {error}")
        return
    picture = _activation_picture(pixels, to_drawn, subject, activation.cpu(), model.info.classes)
    about = {"image": info.id, "layer": layer.name, "label": model.info.classes[subject.label]}
    gallery.add(f"class_activation/{info.id}.png", picture, shows="class activation", **about)


def _drawable(pixels: Pixels, placement: Matrix) -> tuple[Pixels, Matrix]:
    """The image at the size in which it is drawn, and the matrix from the canvas to it."""
    height, width = pixels.shape[:2]
    least, most = (side / max(height, width) for side in _SIDES)
    factor = min(most, max(1, ceil(least)))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    drawn = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    return np.asarray(drawn), np.asarray(scale(size[0] / width, size[1] / height) @ np.linalg.inv(placement))


def _activation_picture(
    pixels: Pixels, to_drawn: Matrix, subject: Subject, activation: Tensor, classes: Sequence[str]
) -> Pixels:
    """The image beside itself under its activation, with the box or the outline of what is explained."""
    heat = heat_on(pixels, _moved(activation, to_drawn, (pixels.shape[0], pixels.shape[1])))
    if subject.region is not None:
        heat = _outlined(heat, _moved(torch.from_numpy(subject.region).float(), to_drawn, heat.shape[:2]) > 0.5)
    if subject.box is not None:
        corners = np.array(subject.box).reshape(2, 2) @ to_drawn[:2, :2].T + to_drawn[:2, 2]
        heat = boxes_on(heat, [(corners.reshape(4).tolist(), subject.label, subject.text)], classes)
        return _beside(boxes_on(pixels, [], classes), heat)
    return caption(_beside(pixels, heat), [subject.text])


def _moved(values: Tensor, matrix: Matrix, size: Size) -> NDArray[np.float32]:
    """A map [h,w] of the canvas on the drawn image, 0 where the canvas has nothing of it."""
    there = torch.from_numpy(matrix)[None]
    warped = sample_bilinear(values[None, None], there, size)[0, 0]
    seen = sample_nearest(torch.ones_like(values, dtype=torch.uint8)[None], there, size, fill=0)[0]
    return (warped * seen).clamp(0, 1).numpy()


def _outlined(pixels: Pixels, region: NDArray[np.bool_]) -> Pixels:
    lines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(pixels.copy(), lines, -1, _OUTLINE, 1))


def _beside(left: Pixels, right: Pixels) -> Pixels:
    """Two pictures of one width, the lower one, if one is, on a dark ground."""
    height = max(len(left), len(right))
    return np.concatenate([np.pad(each, ((0, height - len(each)), (0, 0), (0, 0))) for each in (left, right)], axis=1)
