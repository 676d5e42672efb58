"""Training speed side by side with peers, on one machine: `python -m benchmarks.training`.

Same network, image size, batch size, number of epochs, images and cores; fp32, random weights. The rate is training
images/s, without validation and without the first epoch. Ours is the public command, run as a user runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import (
    DATA_ROOT,
    REPORTS,
    Comparison,
    ForeignLoad,
    after_warm_up,
    interleave,
    run,
    run_module,
    write_report,
)


@dataclass(frozen=True)
class Case:
    """One task's comparison."""

    task: str
    model: str
    data: str
    image_size: int
    batch_size: int
    peer: str  # module under benchmarks.peers
    target: float
    ours: tuple[str, ...] = ()  # more options of our command
    batches: int = 0  # an epoch, where a whole one would take the peer a quarter of an hour; 0 = all

    def options(self, data_root: Path, epochs: int) -> list[str]:
        """The options that ours and the peer have in common."""
        values = {
            "data": data_root / self.data,
            "epochs": epochs,
            "image-size": self.image_size,
            "batch-size": self.batch_size,
        }
        return [word for name, value in values.items() for word in (f"--{name}", str(value))]

    @property
    def our_options(self) -> list[str]:
        """More options of our command, that make the work the same as the peer's."""
        fewer = ("--set", f"max_images={self.batches * self.batch_size}") if self.batches else ()
        return [*self.ours, *fewer]

    def __str__(self) -> str:
        return f"{self.task}: {self.model} at {self.image_size} on {self.data}, batch {self.batch_size}"


NO_MIX_OFF = ("--set", "augment.mix_off=0")  # mosaic in all epochs, as the peer has it with --close-mosaic 0
NOT_MEASURED = ("any task on CUDA: the peers train on the CPU", "any task in bf16: both sides train in fp32")

CASES = (
    Case("classify", "resnet18", "classify-clothing-small", 128, 32, "classify_torchvision", 2.0),
    Case("detect", "yolo11n", "detect-bccd-voc", 320, 16, "detect_ultralytics", 3.0, NO_MIX_OFF),
    Case(
        "detect",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "detect-bccd-voc",
        192,
        8,
        "detect_torchvision",
        1.2,
        batches=6,
    ),
    Case("segment", "unet:resnet18", "segment-nuclei-dsb2018", 256, 8, "segment_smp", 2.0),
)


def peer_rate(case: Case, options: Sequence[str]) -> float:
    """Images/s of the peer's script."""
    record = run_module(f"benchmarks.peers.{case.peer}", *options)
    return after_warm_up(record["images_per_second"])


def our_rate(case: Case, options: Sequence[str], extra: Sequence[str]) -> float:
    """Images/s of `vision-tasks TASK train`, as its own metrics say."""
    program = Path(sys.executable).with_name("vision-tasks")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        own = ["--model", case.model, "--device", "cpu", "--precision", "fp32", "--out", out, *extra]
        run([program, case.task, "train", *options, *own])
        lines = (out / "metrics.jsonl").read_text().splitlines()
    return after_warm_up([json.loads(line)["train_images_per_second"] for line in lines])


def compare(case: Case, data_root: Path, epochs: int, repeats: int, extra: Sequence[str]) -> Comparison:
    """Both in turns."""
    print(case, flush=True)
    options, own = case.options(data_root, epochs), [*case.our_options, *extra]
    with ForeignLoad() as foreign:
        rates = interleave(
            {
                "peer": lambda: peer_rate(case, [*options, "--max-batches", str(case.batches)]),
                "ours": lambda: our_rate(case, options, own),
            },
            repeats,
        )
    return Comparison(
        name=str(case),
        unit="images/s",
        target=case.target,
        peer=case.peer,
        peer_rates=rates["peer"],
        our_rates=rates["ours"],
        foreign_load=foreign.share,
        note=f"{epochs} epochs a run {' '.join(own)}".strip(),
    )


def main() -> None:
    """Compare the chosen tasks and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = sorted({case.task for case in CASES})
    parser.add_argument("--tasks", nargs="+", choices=names, default=names)
    parser.add_argument("--models", nargs="+", choices=[case.model for case in CASES], help="of these tasks; else all")
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT)
    parser.add_argument("--epochs", type=int, default=3, help="a run; the first is warm-up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--name", default="training", help="of the report")
    parser.add_argument("--ours", nargs=argparse.REMAINDER, default=[], help="more options for our command; comes last")
    arguments = parser.parse_args()
    models = arguments.models or [case.model for case in CASES]
    chosen = [case for case in CASES if case.task in arguments.tasks and case.model in models]
    measured = [
        compare(case, arguments.data_root.resolve(), arguments.epochs, arguments.repeats, arguments.ours)
        for case in chosen
    ]
    write_report(arguments.out, arguments.name, "Training speed", measured, NOT_MEASURED)


if __name__ == "__main__":
    main()
