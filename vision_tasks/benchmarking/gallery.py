"""The images on which models disagree most: each with its truth and what every model says, drawn, as small JPEGs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vision_tasks import luck
from vision_tasks.benchmarking.judge import Scored
from vision_tasks.benchmarking.layout import Layout
from vision_tasks.benchmarking.material import open_material
from vision_tasks.benchmarking.plan import Contender, Plan
from vision_tasks.benchmarking.record import GalleryImage
from vision_tasks.benchmarking.resampled import read_resampled
from vision_tasks.commands.given import load_for, numbered_as, suited
from vision_tasks.engine.progress import say
from vision_tasks.engine.upright import upright
from vision_tasks.engine.worst import predicted_again
from vision_tasks.files import replacing
from vision_tasks.metrics.ratios import Array
from vision_tasks.tasks import Output, Report, Task, get_task
from vision_tasks.tasks.base import Picture, Predicted
from vision_tasks.types import Boxes, Sample

IMAGES = 12
_SIDE = 360  # pixels at most
_QUALITY = 80  # of JPEG


def scored_models(layout: Layout, plan: Plan) -> list[Scored]:
    """Those of whom every run is done."""
    found = []
    for contender in plan.contenders:
        parts = [layout.run(contender, seed) for seed in contender.seeds]
        if all(part.done is not None for part in parts):
            found.append(Scored(contender.name, tuple(read_resampled(part.folder) for part in parts)))
    return found


def disputed(models: Sequence[Scored]) -> list[tuple[int, float]]:
    """Positions of the images on which models differ most, and by how much: the deviation of their scores there.

    Of equally disputed ones keyed luck chooses, so that not all are of the class that comes first.
    """
    alone = np.stack([model.alone() for model in models])
    known = ~np.isnan(alone).any(axis=0)
    spread = np.where(known, np.where(known, alone, 0).std(axis=0), 0)
    order = luck.order(0, "gallery", 0, luck.keys(models[0].runs[0].images))
    chosen = order[np.argsort(-spread[order], kind="stable")][:IMAGES]
    return [(int(i), float(spread[i])) for i in chosen if spread[i] > 0]


def draw_gallery(layout: Layout, plan: Plan) -> None:
    """Write the pictures and what they show; one model in memory at a time."""
    part, models = layout.gallery, scored_models(layout, plan)
    names = models[0].runs[0].images
    found = disputed(models)
    material = open_material(plan)
    positions = {sample.id: i for i, sample in enumerate(material.scored)}
    samples = [material.scored[positions[names[i]]] for i, _ in found]
    record = suited(get_task(plan.task), material.dataset.exclusive)
    drawn = {"truth": _drawn(part.folder, "truth", record, material.dataset.classes, samples, _truth)}
    for model in models:
        contender = plan.contender(model.name)
        drawn[model.name] = _of_model(layout, plan, contender, record, material.dataset, samples)
        say(f"gallery: {model.name}")
    scores = {model.name: model.alone() for model in models}
    entries = [_entry(layout, names, drawn, scores, row, *one) for row, one in enumerate(found)]
    part.finish([entry.model_dump() for entry in entries])


def _of_model(
    layout: Layout, plan: Plan, contender: Contender, record: Task[Any], dataset: Any, samples: Sequence[Sample[Any]]
) -> list[Path]:
    model, card = load_for(get_task(plan.task), layout.checkpoint(contender), plan.device, "fp32")
    own = numbered_as(card, dataset, samples)

    def predict(sample: Sample[Any], size: Any) -> Any:
        found = predicted_again(model, card.input, own, samples.index(sample))
        return None if found is None else found.to("cpu")

    return _drawn(layout.gallery.folder, contender.slug, record, card.classes, samples, predict)


def _drawn(
    folder: Path, name: str, record: Task[Any], classes: tuple[str, ...], samples: Sequence[Sample[Any]], target: Any
) -> list[Path]:
    """A JPEG for each sample, of what `target(sample, its size)` gives."""
    picture, files = record.formats["drawings"], []
    assert isinstance(picture, Picture)
    output = Output(folder, classes, (), Report())
    for number, sample in enumerate(samples):
        pixels = upright(sample, None)
        size = (pixels.shape[0], pixels.shape[1])
        shown = Predicted(sample.id, size, "", partial(_same, pixels), target(sample, size), [])
        file = folder / str(number) / f"{name}.jpg"
        png = file.with_suffix(".png")
        picture.write(shown, output, png)
        _shrink(png, file)
        files.append(file)
    return files


def _shrink(png: Path, file: Path) -> None:
    with Image.open(png) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    with replacing(file) as temporary:
        picture.save(temporary, "JPEG", quality=_QUALITY, optimize=True)
    png.unlink()


def _truth(sample: Sample[Any], size: Any) -> Any:
    """The truth as if somebody had predicted it, surely."""
    truth = sample.truth(size)
    if isinstance(truth, Boxes):
        return replace(truth, score=torch.ones_like(truth.xyxy[..., 0]))
    return truth


def _same(pixels: Any) -> Any:
    return pixels


def _entry(
    layout: Layout,
    names: Sequence[str],
    drawn: Mapping[str, Sequence[Path]],
    scores: Mapping[str, Array],
    row: int,
    position: int,
    disagreement: float,
) -> GalleryImage:
    files = {name: paths[row].relative_to(layout.path).as_posix() for name, paths in drawn.items()}
    return GalleryImage(
        image=names[position], disagreement=disagreement, truth=files.pop("truth"), predictions=files,
        scores={name: float(values[position]) for name, values in scores.items()},
    )  # fmt: skip
