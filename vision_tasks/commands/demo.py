"""`vision-tasks demo`: write the embedded data, then train, evaluate and predict with every family."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from vision_tasks import api, recipes
from vision_tasks.commands.digits import write_digits, write_scenes
from vision_tasks.config import TrainConfig
from vision_tasks.engine.progress import say
from vision_tasks.engine.run_folder import next_free
from vision_tasks.errors import unknown_name
from vision_tasks.files import write_text
from vision_tasks.tasks import TASKS

_PREDICTED = 24  # test images that get predictions and drawings


def run_demo(out: Path, tasks: Iterable[str]) -> None:
    """All chosen tasks into a new folder (`out`, or `out-2`, ...); ends by naming what was written."""
    chosen = list(tasks)
    for name in chosen:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    out = next_free(out.parent, out.name)
    data = out / "data"
    say(f"writing 1,797 handwritten digits and scenes composed from them into {data}")
    write_digits(data / "digits")
    write_scenes(data / "scenes-voc", data / "scenes-masks")
    rows = []
    for name, config, pictures in _jobs(out, chosen):
        rows.append(_run(out, name, config, pictures))
    write_text(out / "results.md", _table(rows))
    print(_table(rows))
    _name_files(out)


Job = tuple[str, TrainConfig, Path]  # name, configuration, where to take pictures from


def _jobs(out: Path, tasks: list[str]) -> Iterable[Job]:
    """What to run, in order; the U-Net starts from the classifier's weights if that was trained before."""
    data = out / "data"
    if "classify" in tasks:
        yield "resnet18", recipes.digits_resnet18(data / "digits"), data / "digits" / "test"
    if "detect" in tasks:
        pictures = data / "scenes-voc" / "JPEGImages"
        yield "yolo11n", recipes.digits_yolo11n(data / "scenes-voc"), pictures
        yield "fasterrcnn", recipes.digits_faster_rcnn(data / "scenes-voc"), pictures
    if "segment" in tasks:
        classifier = out / "resnet18" / "run"
        encoder = classifier if classifier.exists() else None
        yield "unet", recipes.digits_unet(data / "scenes-masks", encoder), data / "scenes-masks" / "test" / "images"


def _run(out: Path, name: str, config: TrainConfig, pictures: Path) -> str:
    """Train, evaluate, predict; one row of the table."""
    say(f"\n== {config.task}: {config.model}")
    started = time.monotonic()
    run = api.train(config.task, config=config, out=out / name / "run")
    seconds = time.monotonic() - started
    metrics = api.evaluate(config.task, weights=run, data=config.data, split="test", out=out / name / "evaluation")
    sources = sorted(path for path in pictures.rglob("*.*g") if "train" not in path.name and "val-" not in path.name)
    step = max(1, len(sources) // _PREDICTED)
    predictions = out / name / "predictions"
    api.predict(config.task, weights=run, source=sources[::step][:_PREDICTED], out=predictions)
    scores = ", ".join(f"{key} {metrics[key]:.3f}" for key in TASKS[config.task].headline)
    return f"| {config.task} | {config.model} | {scores} | {seconds:.0f} s |"


def _table(rows: list[str]) -> str:
    return "\n".join(["| task | model | on the test split | training |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _name_files(out: Path) -> None:
    print(f"All of it is in {out}:")
    for path in sorted(out.glob("*/*/")):
        kind = {"run": "checkpoints, metrics.jsonl, config.toml", "evaluation": "metrics.json",
                "predictions": "predictions.jsonl, failures.jsonl, drawings/"}.get(path.name)  # fmt: skip
        if kind:
            print(f"  {path}: {kind}")
    for picture in sorted(out.glob("*/predictions/drawings/**/*.png"))[::_PREDICTED]:
        print(f"  a drawing to look at: {picture}")
    print(f"  {out / 'results.md'}: the table above")
