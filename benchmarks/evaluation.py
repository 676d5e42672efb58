"""What evaluating costs beyond the network: `python -m benchmarks.evaluation`.

`evaluate` reads, decodes, warps, predicts, scores and makes intervals; the bare forward passes predict batches that
already lie in memory. Both have the same model, canvas, batch size and images, and take turns in one process.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import DATA_ROOT, REPORTS, Comparison, ForeignLoad, interleave, rate, write_report
from vision_tasks import create_model, load_dataset
from vision_tasks.data.catalog import pick_split
from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import Inference, fitted_plans, score
from vision_tasks.tasks import CLASSIFY
from vision_tasks.types import InputSpec

TARGET = 1 / 1.1  # evaluate costs at most 1.1 times the bare forward passes
JOBS = (("resnet18", "classify-clothing-small", 224), ("resnet18", "classify-eurosat-rgb", 64))


def compare(root: Path, model: str, folder: str, size: int, batch_size: int, repeats: int) -> Comparison:
    """Images/s of evaluating a split beside those of the forward passes alone."""
    dataset = load_dataset("classify", root / folder)
    samples = pick_split(dataset, "test")
    spec = InputSpec((size, size), "crop")
    network = Inference.of(create_model(model, dataset.classes).eval(), torch.device("cpu"), "fp32")
    plans = fitted_plans(len(samples), spec, batch_size)
    batches = list(Loader(samples, plans, spec.canvas, detail=spec.canvas, truth="none"))

    def bare() -> Any:
        return [network(batch.images) for batch in batches]

    def whole() -> Any:
        return score(network, CLASSIFY, samples, dataset.classes, spec, batch_size)

    contenders = {name: lambda work=work: rate(work, len(samples)) for name, work in (("bare", bare), ("ours", whole))}
    bare()
    with ForeignLoad() as foreign:
        rates = interleave(contenders, repeats)
    name = f"{model} at {size} on {folder}, {len(samples)} images, batch {batch_size}"
    return Comparison(name, "images/s", TARGET, "forward passes alone", rates["bare"], rates["ours"], foreign.share)


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    comparisons = [compare(given.data_root, *job, given.batch_size, given.repeats) for job in JOBS]
    write_report(given.out, "evaluation", "Cost of evaluating", comparisons)


if __name__ == "__main__":
    main()
