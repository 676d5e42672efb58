"""`predict`: a checkpoint over files, folders, archives and videos, and what it says of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vision_tasks.commands.given import PathLike, load_for, output_folder, require_positive, suited
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.engine import predict as inference
from vision_tasks.engine.cluster_worker import Begin
from vision_tasks.engine.earlier_outputs import FAILURES, refuse_earlier, remove_earlier
from vision_tasks.engine.engine_choice import Chosen, fastest
from vision_tasks.engine.engines import AUTO, with_engine
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.image_writer import ImageWriter
from vision_tasks.engine.on_cluster import device_of_workers, require_cluster, work_of
from vision_tasks.engine.progress import Bar, say
from vision_tasks.engine.sources import Walk
from vision_tasks.engine.sources.folder import absolute
from vision_tasks.engine.store import Outcomes, Store
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.files import sha256_of
from vision_tasks.models.agreement import LEAST
from vision_tasks.models.checkpoint import ModelCard
from vision_tasks.models.least_score import leave_out_below
from vision_tasks.models.weights import resolve
from vision_tasks.tasks import Report, Task, get_task
from vision_tasks.tasks.base import Table
from vision_tasks.tasks.fonts import unwritable
from vision_tasks.tasks.tiling import SMALLEST_TILE


def predict(
    task: str,
    *,
    weights: PathLike,
    source: PathLike | Sequence[PathLike],
    out: PathLike,
    formats: str | Sequence[str] = inference.FORMATS,
    conf: float = 0.25,
    max_detections: int = 300,
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "torch",
    restart: bool = False,
    tile: int | None = None,
    watch: bool = False,
    decode: str = "cpu",
    engine_cluster: str | None = None,
) -> inference.Summary:
    """Run a checkpoint over images, and write `formats` of the task into `out`.

    `source` names files, folders, globs, tar and zip archives, videos, text files of paths, or is `-` for paths from
    standard input. Of an archive every image is predicted in place, of a video every frame.

    `formats` are names, or one text of them with commas; `tasks/outputs` describes each. Boxes, or several labels of an
    image, below the score `conf` are not reported, and no more boxes of an image than `max_detections`, the best.
    An earlier call into `out` with the same settings is gone on with, whatever ended it: only new and changed images
    are predicted, and those that failed. Other settings are an error, unless `restart` removes what was written;
    nothing else in `out` is touched. Images with a side of more than `tile` pixels are predicted in overlapping tiles
    of so many. With `watch` the sources are looked at again and again, until Ctrl-C. `engine` computes the network:
    torch, compile, onnx, openvino, or with auto the fastest here that says what torch says. With `engine_cluster`,
    which is `ray`, the machines of a cluster predict, as many as there are, and this one writes.
    Raises UserError, also where every image failed: `failures.jsonl` is then written, too.
    """
    record = get_task(task)
    require_positive(batch_size=batch_size, max_detections=max_detections)
    _require_tiles(record, tile)
    require_cluster(engine_cluster, engine)
    chosen = _formats(record, formats)
    refuse_earlier(record, Path(out), restart)
    least = conf if tile is None else None  # tiles are put together by what is seen less surely, too
    asked = _Model(task, weights, precision, engine, decode, least)
    record, model, card = asked.loaded("cpu" if engine_cluster else device)  # a cluster's machines have their own
    asked = replace(asked, precision=model.precision)
    _tell_of_fonts(card, chosen)
    # The folder that is written to is never looked through: an earlier call's drawings are no pictures of the user's.
    walk = _looked_at(Walk([source] if isinstance(source, str | Path) else source, Path(out)), watch)
    way = Chosen(model) if engine_cluster else asked.way(model, card, walk, batch_size)
    path = None if engine_cluster else DevicePath.to(model.device, decode)
    folder = output_folder(Path(out))
    if restart:
        remove_earlier(record, folder)
    settings = inference.Settings(
        chosen, Report(conf, max_detections), batch_size, tile, path, watch, at_once=way.at_once, canvases=way.canvases
    )
    settings = replace(settings, fingerprint=asked.fingerprint(settings))
    with _on_cluster(asked, device, model, settings) if engine_cluster else nullcontext() as elsewhere:
        summary = inference.predict(way.inference, record, walk, card.input, folder, settings, elsewhere)
    for remark in path.remarks() if path else ():
        say(remark)
    _tell(summary, [name for each in chosen for name in record.formats[each].writes], folder)
    if not summary.predicted and not watch:
        raise UserError(f"none of {summary.failed} images could be predicted; {folder / FAILURES} says why")
    return summary


@dataclass(frozen=True)
class _Model:
    """What predicts, as it was asked for: here, or on the machines of a cluster."""

    task: str
    weights: PathLike
    precision: str
    engine: str
    decode: str
    least: float | None  # boxes below this score are left out before they are compared with one another; None = none

    def loaded(self, device: str) -> tuple[Task[Any], Inference[Any], ModelCard]:
        """The task's record and the checkpoint's model."""
        record = get_task(self.task)
        model, card = load_for(record, self.weights, device, self.precision)
        return suited(record, card.exclusive), model, card

    def way(self, model: Inference[Any], card: ModelCard, walk: Walk, batch_size: int) -> Chosen[Any]:
        """How this machine predicts; `auto` looks at the first images by a walk of its own."""
        if self.engine == AUTO:
            if self.least is not None:  # engines are compared by less sure boxes, too
                leave_out_below(model.model, min(self.least, LEAST))
            way = fastest(model, card, Walk(walk.sources, walk.without), batch_size)
        else:
            way = Chosen(with_engine(model, card, self.engine))
        self.leave_out(way.inference)
        return way

    def leave_out(self, model: Inference[Any]) -> None:
        """Let `model` predict nothing that nobody will be told of."""
        if self.least is not None:
            leave_out_below(model.model, self.least)

    def fingerprint(self, settings: inference.Settings) -> dict[str, str]:
        """What the rows depend on, by the names of options; weights by what they hold, wherever they lie."""
        report = settings.report
        return {
            "task": self.task, "weights": sha256_of(_file_of(self.weights))[:16], "conf": f"{report.confidence:g}",
            "max-detections": str(report.max_detections), "tile": str(settings.tile),
            "format": ",".join(settings.formats), "precision": self.precision, "engine": self.engine,
            "decode": self.decode,
        }  # fmt: skip

    def for_others(self) -> _Model:
        """The same on another machine: what a card names is fetched by each, a file must be there by its whole path."""
        named = resolve(self.weights).card
        return replace(self, weights=str(self.weights) if named else str(absolute(_file_of(self.weights))))


def _require_tiles(record: Task[Any], tile: int | None) -> None:
    if tile is not None and record.stitch is None:
        raise UserError(f"--tile: what {record.name} says of a tile says nothing of its image; leave it out")
    if tile is not None and tile < SMALLEST_TILE:
        raise UserError(f"--tile must be {SMALLEST_TILE} pixels or more, not {tile}: try the model's image size")


def _formats(record: Task[Any], named: str | Sequence[str]) -> tuple[str, ...]:
    """What is written: the formats that were asked for and those that always are, in the task's order."""
    names = [name.strip() for name in named.split(",")] if isinstance(named, str) else named
    for name in names:
        if name not in record.formats:
            raise unknown_name(f"format of {record.name}", name, record.formats)
        if isinstance(chosen := record.formats[name], Table):
            chosen.require()
    return tuple(name for name in record.formats if name in names or name in record.always)


def _looked_at(walk: Walk, watch: bool) -> Walk:
    """`walk`, after a look at whether it leads anywhere."""
    if watch and walk.reads_standard_input:
        raise UserError("--watch looks again and again, and standard input can be read once; give a folder")
    if not watch:
        walk.require_images()
    return walk


def _file_of(weights: PathLike) -> Path:
    file = resolve(weights).file
    assert file is not None  # it was loaded
    return file


def _on_cluster(
    asked: _Model, device: str, model: Inference[Any], settings: inference.Settings
) -> AbstractContextManager[Callable[[ImageWriter[Any], Store, Bar], inference.Work]]:
    """What works on the machines of a cluster, in the block."""
    there = device_of_workers(device, asked.engine, model)
    ready = partial(_begun, asked.for_others(), there, settings)
    return work_of(ready, there != "cpu", settings.batch_size, settings.tile)


def _begun(asked: _Model, device: str, settings: inference.Settings) -> Begin:
    """What a worker of a cluster begins its work by."""
    record, model, card = asked.loaded(device)
    model = with_engine(model, card, asked.engine)
    asked.leave_out(model)
    readers = max(2, torch.get_num_threads())  # the machine is shared with other workers
    settings = replace(settings, device_path=DevicePath.to(model.device, asked.decode), workers=readers)

    def begin(folder: Path, outcomes: Outcomes) -> inference.Here[Any]:
        writer = inference.image_writer(model, record, folder, settings, outcomes)
        return inference.Here(model, card.input, settings, outcomes, writer, Bar("predicting", None, None))

    return begin


def _tell_of_fonts(card: ModelCard, formats: Sequence[str]) -> None:
    if "drawings" in formats and (names := unwritable(card.classes)):
        say(f"no font here can write {some(names)}: drawn by their numbers; a font that can, if installed, is found")


def _tell(summary: inference.Summary, written: Sequence[str], folder: Path) -> None:
    before = f" ({summary.before} of them by earlier calls)" if summary.before else ""
    say(
        f"{summary.predicted} images predicted{before}, {summary.failed} could not be, {summary.skipped} other files "
        f"skipped; wrote {', '.join(written)} into {folder}"
    )
    if summary.predicted and summary.failed:
        say(f"those that could not be are listed in {folder / FAILURES}, with the reason")
