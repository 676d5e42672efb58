"""Our loader against other tools' on one job: `python -m benchmarks.loader`.

The job is `benchmarks.peers.loaders`': JPEG files to augmented float batches of 64 x 224 x 224. Every peer gets the
number of worker processes that suits it best here; ours chooses for itself. The target is against the better peer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import DATA_ROOT, REPORTS, Comparison, ForeignLoad, interleave, run_module, write_report
from benchmarks.peers.loaders import BATCH, JITTER, PEERS, SIZE, WORKERS, steady_rate
from vision_tasks.config import Policy

TARGET = 1.3
FOLDER = "classify-clothing-small/train"
OURS = "vision_tasks"


def ours(folder: Path, seconds: float) -> float:
    """Images/s of our loader on the peers' job, with detail kept for the strongest crop, as training keeps it."""
    from vision_tasks.data.loader import Loader

    detail = round(SIZE * _policy().largest_zoom())
    loader = Loader(_samples(folder), _plans(folder), (SIZE, SIZE), detail=(detail, detail), truth="none")
    return BATCH * steady_rate(loader, seconds, warm_up=4)


def _samples(folder: Path) -> list:
    from vision_tasks.types import Labels, Sample

    def truth(size: tuple[int, int]) -> Labels:
        raise NotImplementedError("the benchmark reads no truth")

    return [Sample(path.name, path, truth) for path in sorted(folder.rglob("*.jpg"))]


def _policy() -> Policy:
    return Policy(
        crop_area=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), flip_x=0.5, brightness=JITTER, contrast=JITTER,
        saturation=JITTER,
    )  # fmt: skip


def _plans(folder: Path) -> Iterator:
    """Endless plans: the crop, flip and colours of the peers."""
    import numpy as np

    from vision_tasks import luck
    from vision_tasks.augment.plan import Planner

    keys = luck.keys(path.name for path in sorted(folder.rglob("*.jpg")))
    epochs = 10_000
    planner = Planner(_policy(), (SIZE, SIZE), "letterbox", keys, seed=0, epochs=epochs)
    for epoch in range(epochs):
        order = luck.order(0, "order", epoch, keys)
        whole = len(order) // BATCH * BATCH
        for samples in np.split(order[:whole], whole // BATCH):
            yield planner.plan(epoch, samples)


def best_workers(name: str, folder: Path, seconds: float) -> int:
    """The number of worker processes that is fastest for a peer here."""
    rates = interleave({str(count): lambda count=count: _peer(name, folder, seconds, count) for count in WORKERS}, 2)
    return int(max(rates, key=lambda count: median(rates[count])))


def _peer(name: str, folder: Path, seconds: float, workers: int) -> float:
    options = ["--name", name, "--data", str(folder), "--seconds", str(seconds), "--workers", str(workers)]
    return run_module("benchmarks.peers.loaders", *options)["images_per_second"]


def _ours_apart(folder: Path, seconds: float) -> float:
    options = ["--only-ours", "--folder", str(folder), "--seconds", str(seconds)]
    return run_module("benchmarks.loader", *options)["images_per_second"]


def compare(folder: Path, seconds: float, repeats: int) -> list[Comparison]:
    """All peers and ours in turns; one comparison a peer, best peer first."""
    workers = {name: best_workers(name, folder, seconds / 2) for name in PEERS}
    contenders = {name: lambda name=name: _peer(name, folder, seconds, workers[name]) for name in PEERS}
    with ForeignLoad() as foreign:
        rates = interleave({**contenders, OURS: lambda: _ours_apart(folder, seconds)}, repeats)
    return [
        Comparison(
            name=f"JPEG to {BATCH} x {SIZE} x {SIZE}, augmented",
            unit="images/s",
            target=TARGET,
            peer=name,
            peer_rates=rates[name],
            our_rates=rates[OURS],
            foreign_load=foreign.share,
            note=f"peer's best: {workers[name]} workers",
        )
        for name in sorted(PEERS, key=lambda name: -median(rates[name]))
    ]


def main() -> None:
    """Compare and write the report; with --only-ours measure once and leave a record (what the comparison calls)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT)
    parser.add_argument("--folder", type=Path, help=f"JPEG files, in subfolders too; default {FOLDER} of the data root")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--only-ours", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = (arguments.folder or arguments.data_root / FOLDER).resolve()
    if arguments.only_ours:
        arguments.json.write_text(json.dumps({"images_per_second": ours(folder, arguments.seconds)}))
        return
    write_report(arguments.out, "loader", "Loading speed", compare(folder, arguments.seconds, arguments.repeats))


if __name__ == "__main__":
    main()
