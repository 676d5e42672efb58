"""The data layer beside other tools': `python -m benchmarks.data_layer`.

On one folder, with the same cores, in turns, every contender in a process of its own: the first epoch, in which every
file is decoded, and later ones with each tool's own cache; `benchmarks.peers.epochs` says what the jobs are. Every peer
gets the number of worker processes that suits it best here. Ours is held to its promise in the same run: its crops are
compared with Pillow's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.harness import DATA_ROOT, REPORTS, Comparison, ForeignLoad, interleave, run_module, write_report
from benchmarks.our_epochs import LEAST
from benchmarks.peers.detect_ultralytics import convert
from benchmarks.peers.device_epochs import FEEDERS
from benchmarks.peers.epochs import CROPS, MOSAIC
from benchmarks.peers.loaders import WORKERS

FIRST, CACHED, ALONE = 1.5, 3.0, 0.8  # targets: over the best peer, and of decoding alone
FLAT, NEVER_WAITS = 0.95, 0.95
PROMISE, FEW = 40, 0.01  # dB against Pillow, the median; the share of crops that may lie below `LEAST`
PHOTOS, BOXES = "classify-clothing-small/train", "detect-bccd-voc"
OURS = "vision_tasks"
PEERS = {"crops": tuple(CROPS), "mosaic": tuple(MOSAIC)}
TITLES = {"crops": "JPEG to 64 x 224 x 224, augmented", "mosaic": "JPEG and boxes to mosaics of 16 x 640 x 640"}
ON_A_DEVICE = (
    "CUDA, end to end into a training ResNet-18 at 224, beside timm's prefetcher, torchvision v2 on the device and "
    "kornia: no CUDA device here"
)
ELSEWHERE = "CUDA, augmentation alone: `python -m benchmarks.warp_kernel`"


def lay_out(root: Path, images: int, out: Path) -> dict[str, Path]:
    """The folder of each job, of about so many files: copies of the data sets' that differ in a comment.

    Equal bytes would be one image for a cache that goes by content.
    """
    photos = out / "crops"
    sources = sorted((root / PHOTOS).rglob("*.jpg"))
    for number, source in enumerate(itertools.islice(itertools.cycle(sources), images)):
        _copy(source, photos / source.parent.name / f"{source.stem}_{number}.jpg", number)
    boxes = out / "mosaic"
    convert(root / BOXES, boxes, 0)
    named = sorted((boxes / "images" / "train").glob("*.jpg"))
    for number, source in enumerate(itertools.islice(itertools.cycle(named), max(0, images // 4 - len(named)))):
        copy = source.with_stem(f"{source.stem}_{number}")
        _copy(source, copy, number)
        shutil.copy(_label(source), _label(copy))
    return {"crops": photos, "mosaic": boxes}


def _label(image: Path) -> Path:
    return image.parents[2] / "labels" / image.parent.name / f"{image.stem}.txt"


def _copy(source: Path, target: Path, number: int) -> None:
    """A JPEG with a comment of 8 bytes behind its first marker (ITU-T T.81, B.2.4.5)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    data = source.read_bytes()
    target.write_bytes(data[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + data[2:])


def compare(job: str, folder: Path, epochs: int, repeats: int) -> list[Comparison]:
    """All rows of one job: the first epoch, cached ones, and for single images what decoding alone would reach."""
    workers = {name: best_workers(name, folder) for name in PEERS[job]}
    rows = [
        *_beside_peers(job, folder, workers, repeats, epochs=1),
        *_beside_peers(job, folder, workers, repeats, epochs),
    ]
    return [*rows, _beside_decoding(folder, repeats)] if job == "crops" else rows


def _beside_peers(job: str, folder: Path, workers: dict[str, int], repeats: int, epochs: int) -> list[Comparison]:
    """One comparison a peer, best first: of the first epoch if there is but one, else of the later ones, cached."""
    cached = epochs > 1
    contenders: dict[str, Callable[[], float]] = {
        name: partial(_peer, name, folder, count, epochs) for name, count in workers.items()
    }
    with ForeignLoad() as foreign:
        rates = interleave({**contenders, OURS: partial(_ours, job, folder, epochs)}, repeats)
    return [
        Comparison(
            name=f"{TITLES[job]}, {'cached' if cached else 'first epoch'}",
            unit="images/s",
            target=CACHED if cached else FIRST,
            peer=name,
            peer_rates=rates[name],
            our_rates=rates[OURS],
            foreign_load=foreign.share,
            note=f"peer's best: {workers[name]} workers",
        )
        for name in sorted(workers, key=lambda name: -median(rates[name]))
    ]


def _beside_decoding(folder: Path, repeats: int) -> Comparison:
    with ForeignLoad() as foreign:
        rates = interleave(
            {
                "alone": partial(_steady_record, "crops", folder, what="decoding"),
                OURS: partial(_ours, "crops", folder, 1),
            },
            repeats,
        )
    return Comparison(
        name=f"{TITLES['crops']}, first epoch",
        unit="images/s",
        target=ALONE,
        peer="our decoding alone",
        peer_rates=rates["alone"],
        our_rates=rates[OURS],
        foreign_load=foreign.share,
        note=_promise(folder),
    )


def best_workers(name: str, folder: Path) -> int:
    """The number of worker processes that is fastest for a peer here."""
    rates = interleave({str(count): partial(_peer, name, folder, count, 1) for count in WORKERS}, 1)
    return int(max(rates, key=lambda count: rates[count][0]))


def _peer(name: str, folder: Path, workers: int, epochs: int) -> float:
    options = ["--name", name, "--data", str(folder), "--workers", str(workers), "--epochs", str(epochs)]
    return _steady(run_module("benchmarks.peers.epochs", *options, *(["--keep"] if epochs > 1 else [])))


def _ours(job: str, folder: Path, epochs: int) -> float:
    """A mosaic shows four images, so our cache, which training has by default, is at work in the first epoch too."""
    return _steady_record(job, folder, epochs=epochs, cache="ram" if epochs > 1 or job == "mosaic" else "none")


def _steady_record(job: str, folder: Path, **options: Any) -> float:
    return _steady(_record(job, folder, **options))


def _steady(record: Any) -> float:
    """The first epoch's rate if there is but one, else the median of the later ones."""
    rates = record["images_per_second"]
    return median(rates[1:] or rates)


def _promise(folder: Path) -> str:
    """How close our crops of these files are to Pillow's, in words. Raises RuntimeError where that is too far."""
    found = _record("crops", folder, what="distances")["psnr"]
    if found["median"] < PROMISE or found["below"] > FEW * found["images"]:
        raise RuntimeError(f"our crops are too far from Pillow's: {found}")
    least = f"least {found['least']:.1f} dB, {found['below']} of {found['images']} crops below {LEAST} dB"
    return f"PSNR to Pillow's: median {found['median']:.1f} dB, {least}"


def on_device(folder: Path, repeats: int) -> list[Comparison]:
    """A training on a CUDA device fed by ours, beside one that never waits, and beside those that peers feed.

    The device waits for at most 5 % of the time if the rate is at least 0.95 of that without loading.
    """
    contenders: dict[str, Callable[[], float]] = {name: partial(_fed, name, folder) for name in FEEDERS}
    with ForeignLoad() as foreign:
        rates = interleave({**contenders, OURS: partial(_steady_record, "crops", folder, what="training")}, repeats)
    return [
        Comparison(
            name="ResNet-18 at 224 on CUDA, end to end",
            unit="images/s",
            target=NEVER_WAITS if name == "alone" else 1.0,
            peer="no loading" if name == "alone" else name,
            peer_rates=rates[name],
            our_rates=rates[OURS],
            foreign_load=foreign.share,
        )
        for name in FEEDERS
    ]


def _fed(name: str, folder: Path) -> float:
    options = ["--name", name, "--data", str(folder), "--workers", str(os.cpu_count() or 1)]
    return _steady(run_module("benchmarks.peers.device_epochs", *options))


def resident(folder: Path, cache: str, epochs: int) -> Comparison:
    """The resident set after the second epoch beside the greatest one from there on."""
    found = _record("crops", folder, epochs=epochs, cache=cache)["resident"][1:]
    return Comparison(
        name=f"resident set from epoch 2 on, MB, cache {cache}",
        unit="images/s",
        target=FLAT,
        peer=f"greatest of epochs 2 to {epochs}",
        peer_rates=[max(found)],
        our_rates=[found[0]],
    )


def _resident_of_links(folder: Path, images: int, out: Path) -> Comparison:
    """The same over many files, by links to those of `folder`, without a cache."""
    sources = sorted(folder.rglob("*.jpg"))
    for number, source in enumerate(itertools.islice(itertools.cycle(sources), images)):
        link = out / source.parent.name / f"{number}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    row = resident(out, "none", epochs=3)
    return replace(row, name=f"{row.name}, {images} files")


def _record(job: str, folder: Path, **options: Any) -> Any:
    words = itertools.chain.from_iterable((f"--{name}", str(value)) for name, value in options.items())
    return run_module("benchmarks.our_epochs", "--name", job, "--data", str(folder), *words)


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=DATA_ROOT)
    parser.add_argument("--images", type=int, default=4000, help="files of an epoch; a quarter of them for boxes")
    parser.add_argument("--epochs", type=int, default=4, help="of cached measurements, the first of which is left out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", nargs="*", choices=PEERS, default=list(PEERS), help="none: memory alone")
    parser.add_argument("--resident-images", type=int, default=0, help="files, by links, of a row on memory")
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--name", default="data_layer", help="of the report")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = lay_out(given.data_root, given.images, Path(folder))
        rows = [row for job in given.jobs for row in compare(job, folders[job], given.epochs, given.repeats)]
        rows += [resident(folders["crops"], cache, epochs=5) for cache in ("none", "ram")]
        if given.resident_images:
            rows.append(_resident_of_links(folders["crops"], given.resident_images, Path(folder) / "links"))
        cuda = torch.cuda.is_available() and bool(given.jobs)
        rows += on_device(folders["crops"], given.repeats) if cuda else []
        write_report(given.out, given.name, "The data layer", rows, [*([] if cuda else [ON_A_DEVICE]), ELSEWHERE])


if __name__ == "__main__":
    main()
