"""`vision-tasks data preview PATH --out FILE.png`: what a training would see, images and truth as they are augmented.

The page comes from the loader and the planner of training. Its first row is not augmented; each other row is an epoch,
and each column an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vision_tasks import luck
from vision_tasks.augment.plan import Planner, fitted
from vision_tasks.commands.configuration import resolve_config
from vision_tasks.commands.datasets import open_any, require_outside
from vision_tasks.config import TrainConfig
from vision_tasks.data.catalog import pick_split
from vision_tasks.data.loader import Loader
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError
from vision_tasks.tasks import get_task
from vision_tasks.tasks.drawing import boxes_on, caption, mask_on, save_picture
from vision_tasks.tasks.fonts import drawable, font_of
from vision_tasks.types import Batch, Boxes, Labels, Masks, Plan, Sample
from vision_tasks.warp import Pixels

_GAP, _TITLE = 8, 28  # pixels
_WIDEST = 3200  # pixels of a page
_PAPER, _INK = (24, 24, 24), (235, 235, 235)
_LEAST_WEIGHT = 0.005  # of a class that is named


def preview_dataset(
    data: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    data_format: str | None = None,
    augment: str | None = None,
    image_size: int | None = None,
    split: str = "train",
    rows: int = 4,
    columns: int = 6,
    seed: int = 0,
) -> Path:
    """Draw `columns` images of `split`, as they are and in `rows` epochs, into the PNG `out`, which it returns.

    `augment` is as `train` takes it, with the task's own recipe around it. Raises UserError.
    """
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise UserError(f"--out {out}: the page is a PNG; give a name that ends in .png")
    require_outside(out, data)
    name, dataset = open_any(data, task, data_format)
    settings = {"seed": seed} | ({"image_size": image_size} if image_size else {})
    config = resolve_config(get_task(name), None, augment, None, settings)
    samples: Sequence[Sample[Any]] = pick_split(dataset, split if "all" not in dataset.splits else "all")
    page = _page(samples, drawable(dataset.classes), config, rows, columns)
    save_picture(path, page)
    say(f"{dataset.root}: {dataset.format}; {min(columns, len(samples))} of {len(samples)} images; wrote {path}")
    return path


def _page(
    samples: Sequence[Sample[Any]], classes: Sequence[str], config: TrainConfig, rows: int, columns: int
) -> Image.Image:
    keys = luck.keys(sample.id for sample in samples)
    chosen = luck.order(config.seed, "preview", 0, keys)[:columns]
    canvas = config.input.canvas
    planner = Planner(config.augment, canvas, config.fit, keys, config.seed, max(config.epochs, rows))
    plans: list[Plan] = [fitted(chosen.tolist(), canvas, config.fit)]
    plans += [planner.plan(epoch, chosen) for epoch in range(rows)]
    side = round(config.image_size * config.augment.largest_zoom())
    batches = Loader(samples, plans, canvas, detail=(side, side))
    titles = ["not augmented", *(f"epoch {epoch + 1}" for epoch in range(rows))]
    drawn = [[*_drawn(batch, classes)] for batch in batches]
    if not any(drawn):
        raise UserError(f"none of the {len(chosen)} images can be read; `vision-tasks data check` says why")
    return _arranged(titles, drawn)


def _drawn(batch: Batch[Any], classes: Sequence[str]) -> Iterator[Pixels]:
    """Each canvas of a batch with its truth on it."""
    for failure in batch.failures:
        say(f"left out, cannot be read: {failure.path}: {failure.reason}")
    for i in range(len(batch)):
        pixels: NDArray[np.float32] = batch.images[i].permute(1, 2, 0).numpy()
        assert batch.targets is not None
        yield draw_truth(batch.targets.image(i), np.rint(pixels * 255).astype(np.uint8), classes)


@singledispatch
def draw_truth(truth: Any, pixels: Pixels, classes: Sequence[str]) -> Pixels:
    """A canvas [H,W,3] with the truth (B = 1) that belongs to it."""
    raise TypeError(f"{type(truth).__name__} can't be drawn")


@draw_truth.register
def _(truth: Labels, pixels: Pixels, classes: Sequence[str]) -> Pixels:
    weights = truth.weight[0].tolist()
    order = sorted(range(len(weights)), key=lambda k: -weights[k])
    shown = [k for k in order if weights[k] >= _LEAST_WEIGHT]
    return caption(pixels, [classes[k] if weights[k] == 1 else f"{classes[k]} {weights[k]:.2f}" for k in shown])


@draw_truth.register
def _(truth: Boxes, pixels: Pixels, classes: Sequence[str]) -> Pixels:
    boxes = truth.flat()
    rows = zip(boxes.xyxy[0].tolist(), boxes.label[0].tolist(), boxes.crowd[0].tolist(), strict=True)
    named = [(box, label, classes[label] + (" (crowd)" if crowd else "")) for box, label, crowd in rows]
    return boxes_on(pixels, named, classes)


@draw_truth.register
def _(truth: Masks, pixels: Pixels, classes: Sequence[str]) -> Pixels:
    return mask_on(pixels, truth.index[0].numpy(), classes)


def _arranged(titles: Sequence[str], rows: Sequence[Sequence[Pixels]]) -> Image.Image:
    """Rows of pictures below one another, each under its title."""
    width = max(picture.shape[1] for row in rows for picture in row) + _GAP
    heights = [_TITLE + max((picture.shape[0] for picture in row), default=0) + _GAP for row in rows]
    page = Image.new("RGB", (_GAP + width * max(map(len, rows)), sum(heights)), _PAPER)
    pen, top = ImageDraw.Draw(page), 0
    for title, row, height in zip(titles, rows, heights, strict=True):
        pen.text((_GAP, top + 4), title, fill=_INK, font=font_of(title, 16))
        for column, picture in enumerate(row):
            page.paste(Image.fromarray(picture), (_GAP + column * width, top + _TITLE))
        top += height
    page.thumbnail((_WIDEST, top))
    return page
