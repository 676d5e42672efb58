"""`vision-tasks demo`: write the embedded data, then train, evaluate and predict with every family."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vision_tasks import recipes
from vision_tasks.commands.digits import write_digits, write_scenes
from vision_tasks.commands.evaluate import evaluate
from vision_tasks.commands.predict import predict
from vision_tasks.commands.train import train
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
    rows = [_run(out, job) for job in _jobs(out, chosen)]
    write_text(out / "results.md", _table(rows))
    print(_table(rows))
    _name_files(out)


@dataclass(frozen=True)
class Job:
    """One model's part of the demo."""

    name: str
    config: TrainConfig
    pictures: Path  # the folder to predict on
    confidence: float = 0.25
    max_detections: int = 300
    remark: str = ""


def _jobs(out: Path, tasks: list[str]) -> Iterable[Job]:
    """What to run, in order; the U-Net starts from the classifier's weights if that was trained before."""
    data = out / "data"
    if "classify" in tasks:
        yield Job("resnet18", recipes.digits_resnet18(data / "digits"), data / "digits" / "test")
    if "detect" in tasks:
        pictures = data / "scenes-voc" / "JPEGImages"
        yield Job("yolo11n", recipes.digits_yolo11n(data / "scenes-voc"), pictures)
        remark = "only begins to learn in this time: its best boxes are drawn, however weak"
        yield Job("fasterrcnn", recipes.digits_faster_rcnn(data / "scenes-voc"), pictures, 0.05, 4, remark)
    if "segment" in tasks:
        classifier = out / "resnet18" / "run"
        encoder = classifier if classifier.exists() else None
        pictures = data / "scenes-masks" / "test" / "images"
        yield Job("unet", recipes.digits_unet(data / "scenes-masks", encoder), pictures)


def _run(out: Path, job: Job) -> str:
    """Train, evaluate, predict; one row of the table."""
    config, task = job.config, job.config.task
    say(f"\n== {task}: {config.model}{f' ({job.remark})' if job.remark else ''}")
    started = time.monotonic()
    run = train(task, config=config, out=out / job.name / "run")
    seconds = time.monotonic() - started
    metrics = evaluate(task, weights=run, data=config.data, split="test", out=out / job.name / "evaluation")
    predictions = out / job.name / "predictions"
    predict(task, weights=run, source=_some(job.pictures), out=predictions, conf=job.confidence,
                max_detections=job.max_detections)  # fmt: skip
    scores = ", ".join(f"{key} {metrics[key]:.3f}" for key in TASKS[task].headline)
    return f"| {task} | {config.model} | {scores} | {seconds:.0f} s |"


def _some(pictures: Path) -> list[Path]:
    """Some of the test images below a folder, evenly spread."""
    sources = sorted(path for path in pictures.rglob("*.*g") if not path.name.startswith(("train-", "val-")))
    return sources[:: max(1, len(sources) // _PREDICTED)][:_PREDICTED]


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
