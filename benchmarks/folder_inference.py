"""Prediction of a folder of photos of mixed sizes: `python -m benchmarks.folder_inference --work DIR`.

Each contender is a whole command, its start and its imports included: ours with `--engine auto`, which has measured and
remembered its engine in a call before, and the loops that users of the peers run. Both have the same network, weights,
canvas and threshold, all cores, and leave their results, which are compared. What `--work` holds of an earlier call
(photos, weights, engines) is taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.folder_results import Rows, average_precision, read_rows, read_yolo, same_first_class, same_pixels
from benchmarks.folder_weights import RECIPES, prepared
from benchmarks.harness import DATA_ROOT, REPORTS, Comparison, ForeignLoad, interleave, read_report, run, write_report
from benchmarks.peers.detect_ultralytics import stay_offline
from benchmarks.photo_folder import TRUTH, write_folder

REPORT = "folder_inference"
CONF = 0.25
YOLO_BATCHES = (1, 8, 16)
TRIAL = 64  # images on which the peer's best batch is found


@dataclass(frozen=True)
class Case:
    """The folder, and where what is made of it goes."""

    work: Path
    images: Path
    weights: Path
    device: str

    @property
    def count(self) -> int:
        return len(list(self.images.iterdir()))

    def out(self, name: str) -> Path:
        return self.work / "out" / name


Command = Callable[[Case], list[str | Path]]


@dataclass(frozen=True)
class Row:
    """One row of the table; `told` compares the results that lie in two folders, ours first."""

    recipe: str
    peer: str
    target: float
    command: Command
    told: Callable[[Case, Path, Path], str]
    most: int = 9  # turns


def ours(case: Case, task: str) -> list[str | Path]:
    """Our command."""
    return [
        sys.executable, "-m", "vision_tasks.cli", task, "predict", "--weights", case.weights, "--source", case.images,
        "--out", case.out("ours"), "--format", "jsonl", "--engine", "auto", "--conf", str(CONF), "--device",
        case.device,
    ]  # fmt: skip


def yolo(case: Case, batch: int) -> list[str | Path]:
    """Ultralytics' own, writing text files and no drawings."""
    options = {
        "model": case.weights, "source": case.images, "imgsz": RECIPES["yolo"].side, "conf": CONF, "batch": batch,
        "device": case.device, "save": False, "save_txt": True, "save_conf": True, "verbose": False,
        "project": case.out("peer"), "name": "found",
    }  # fmt: skip
    return [Path(sys.executable).with_name("yolo"), "predict", *(f"{name}={value}" for name, value in options.items())]


def script(module: str, *options: str) -> Command:
    """A peer that is a script here."""

    def command(case: Case) -> list[str | Path]:
        return [
            sys.executable, "-m", f"benchmarks.peers.{module}", "--source", case.images, "--weights", case.weights,
            "--out", case.out("peer"), "--device", case.device, *options,
        ]  # fmt: skip

    return command


def best_yolo(case: Case) -> list[str | Path]:
    """Ultralytics' command with the batch that is fastest here, on the first images."""
    work = case.work / "trial"
    trial = Case(work, work / "images", case.weights, case.device)
    shutil.rmtree(trial.work, ignore_errors=True)
    trial.images.mkdir(parents=True)
    for path in sorted(case.images.iterdir())[:TRIAL]:
        shutil.copy(path, trial.images)
    seconds = {batch: timed(trial, yolo(trial, batch), "peer") for batch in YOLO_BATCHES}
    print("  yolo predict:", ", ".join(f"batch {batch} {took:.1f} s" for batch, took in seconds.items()), flush=True)
    return yolo(case, min(seconds, key=lambda batch: seconds[batch]))


def timed(case: Case, command: list[str | Path], name: str) -> float:
    """Seconds of a command that finds no results of an earlier one."""
    shutil.rmtree(case.out(name), ignore_errors=True)
    start = time.perf_counter()
    run(command, timeout=4 * 3600)
    return time.perf_counter() - start


def maps(case: Case, our: Rows, peer: Rows) -> str:
    """Average precision of both, where there is truth."""
    if not (case.work / TRUTH).exists():
        return "without truth"
    one, two = (average_precision(case.work, rows) for rows in (our, peer))
    return f"map {one:.4f}, the peer's {two:.4f}"


def told_yolo(case: Case, our: Path, peer: Path) -> str:
    from vision_tasks.models.checkpoint import load_model

    _, card = load_model(case.weights)
    return maps(case, read_rows(our), read_yolo(peer / "found" / "labels", case.images, list(card.classes)))


def told_boxes(case: Case, our: Path, peer: Path) -> str:
    return maps(case, read_rows(our), read_rows(peer))


def told_classes(case: Case, our: Path, peer: Path) -> str:
    return f"{same_first_class(read_rows(our), read_rows(peer)):.2%} of first classes are equal"


def told_masks(case: Case, our: Path, peer: Path) -> str:
    return f"{same_pixels(our / 'masks', peer):.2%} of pixels are equal"


ROWS = {
    "yolo": Row("yolo", "yolo predict", 4, best_yolo, told_yolo),
    "faster_rcnn": Row("faster_rcnn", "torchvision's loop", 2, script("folder_faster_rcnn"), told_boxes, most=1),
    "resnet50": Row(
        "resnet50", "torchvision's loop", 4, script("folder_classify", "--library", "torchvision"), told_classes
    ),
    "resnet50_timm": Row(
        "resnet50", "timm's inference", 4, script("folder_classify", "--library", "timm"), told_classes
    ),
    "unet": Row("unet", "plain SMP loop", 3, script("folder_unet"), told_masks, most=1),
}


def compare(row: Row, case: Case, repeats: int) -> Comparison:
    """Both in turns, and what their results have in common; a call of ours before chooses its engine."""
    recipe = RECIPES[row.recipe]
    commands = {"peer": row.command(case), "ours": ours(case, recipe.task)}
    timed(case, commands["ours"], "ours")
    contenders = {name: lambda name=name: case.count / timed(case, commands[name], name) for name in commands}
    with ForeignLoad() as foreign:
        rates = interleave(contenders, min(repeats, row.most))
    told = row.told(case, case.out("ours"), case.out("peer"))
    name = f"{title(row)}, {case.count} images, {case.device}"
    return Comparison(name, "images/s", row.target, row.peer, rates["peer"], rates["ours"], foreign.share, told)


def title(row: Row) -> str:
    """What is predicted, by what."""
    recipe = RECIPES[row.recipe]
    return f"{recipe.task} {recipe.model} at {recipe.side}"


def which(row: Comparison) -> tuple[str, str, str]:
    """What of the table it is: what is predicted, where, beside whom; of however many images."""
    what, _, device = row.name.split(", ")
    return what, device, row.peer


def unmeasured(found: Sequence[Comparison], devices: Sequence[str]) -> list[str]:
    """The rows that the table should have, and has not."""
    there = set(map(which, found))
    wanted = [(title(row), device, row.peer) for device in devices for row in ROWS.values()]
    missing = [f"{what}, {device}, beside {peer}" for what, device, peer in wanted if (what, device, peer) not in there]
    if "cuda" not in devices:
        missing += [f"{title(row)} on CUDA beside {row.peer} (target 5): no CUDA device" for row in ROWS.values()]
    return missing or ["nothing of the table"]


def main() -> None:
    """Make the folder and the weights where they are missing, compare, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT)
    parser.add_argument("--work", type=Path, required=True, help="photos, weights and results; kept for later calls")
    parser.add_argument("--images", type=int, default=2000, help="a few, for a quick pass")
    parser.add_argument("--source", type=Path, help="a folder of other photos; its boxes are not scored")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cuda", action="store_true", help="on a CUDA device, too")
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--go-on", action="store_true", help="keep what the report in --out has of other rows")
    given = parser.parse_args()
    given.work = given.work.resolve()  # ultralytics writes what has a relative path into a folder of its own
    folder = given.work / (given.source.name if given.source else str(given.images))
    if not given.source and not (folder / TRUTH).exists():
        write_folder(given.data_root, folder, given.images)
    os.environ["VISION_TASKS_CACHE"] = str(given.work / "cache")
    stay_offline(given.work / "settings")
    devices = ["cpu", "cuda"] if given.cuda else ["cpu"]
    comparisons = read_report(given.out, REPORT) if given.go_on else []
    for name in given.rows.split(","):
        weights = prepared(ROWS[name].recipe, given.data_root, given.work)
        cases = [Case(folder, given.source or folder / "images", weights, device) for device in devices]
        new = [compare(ROWS[name], case, given.repeats) for case in cases]
        anew = set(map(which, new))
        comparisons = [each for each in comparisons if which(each) not in anew] + new
        # After every row: it takes an hour, and what was measured until something ends it is kept.
        missing = unmeasured(comparisons, devices)
        write_report(given.out, REPORT, "Prediction of a folder", comparisons, missing)


if __name__ == "__main__":
    main()
