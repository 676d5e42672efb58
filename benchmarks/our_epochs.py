"""Our loader, epoch by epoch, on the jobs of `benchmarks.peers.epochs`; in a process of its own, as each peer.

Besides the rates it leaves the resident set after each epoch, and of the crops how far they are from Pillow's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.peers.device_epochs import training_rate
from benchmarks.peers.epochs import MOSAIC_BATCH, MOSAIC_SIZE, epoch_rate
from benchmarks.peers.loaders import BATCH, JITTER, MEAN, SIZE, STD, WORKERS
from vision_tasks import load_dataset, luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.data.caches.choice import make_cache
from vision_tasks.data.catalog import pick_split
from vision_tasks.data.decode import read_image
from vision_tasks.data.loader import Loader
from vision_tasks.device import keep_freed_memory
from vision_tasks.types import Sample, Size

Place = Literal["none", "ram"]


@dataclass(frozen=True)
class Job:
    """What a peer does, in our words."""

    task: str
    policy: Policy
    size: int
    batch: int
    normalise: bool  # networks of this kind take images under ImageNet's statistics

    @property
    def detail(self) -> Size:
        """The coarsest decoding that will do, as training says it."""
        side = round(self.size * self.policy.largest_zoom())
        return side, side


LEAST = 35  # dB that a crop should be from Pillow's

JOBS = {
    "crops": Job(
        "classify",
        Policy(crop_area=(0.08, 1.0), flip_x=0.5, brightness=JITTER, contrast=JITTER, saturation=JITTER),
        SIZE,
        BATCH,
        normalise=True,
    ),
    # ultralytics' defaults
    "mosaic": Job(
        "detect",
        Policy(mosaic=1, zoom=(0.5, 1.5), shift=0.1, flip_x=0.5, hue=0.015, saturation=0.7, brightness=0.4),
        MOSAIC_SIZE,
        MOSAIC_BATCH,
        normalise=False,
    ),
}


def workers(device: torch.device) -> int:
    """As many as the peers may have at most; beside a device, one a core."""
    return max(WORKERS) if device.type == "cpu" else 0


def samples_of(job: Job, folder: Path) -> Sequence[Sample[Any]]:
    """All images that the job trains on."""
    return pick_split(load_dataset(job.task, folder), "train" if job.task == "detect" else "all")


def epochs(
    job: Job, samples: Sequence[Sample[Any]], count: int, place: Place, device: torch.device
) -> Iterator[Iterator[Tensor]]:
    """The batches of each of so many epochs, as a network's first layer takes them; decoded images stay in `place`."""
    cache, _ = make_cache(place, None, samples, (job.detail, None))
    keys = luck.keys(sample.id for sample in samples)
    canvas = (job.size, job.size)
    planner = Planner(job.policy, canvas, "letterbox", keys, seed=0, epochs=count)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    for epoch in range(count):
        order = luck.order(0, "order", epoch, keys)
        whole = len(order) // job.batch * job.batch
        plans = (planner.plan(epoch, part) for part in order[:whole].reshape(-1, job.batch))
        loader = Loader(
            samples, plans, canvas, job.detail, device=device, workers=workers(device), read=cache or read_image
        )
        yield ((batch.images - mean) / std if job.normalise else batch.images for batch in loader)


def decoding_rate(samples: Sequence[Sample[Any]], detail: Size) -> float:
    """Images/s of reading and decoding alone, by as many threads."""
    cv2.setNumThreads(1)
    read = partial(read_image, detail=detail)
    start = time.perf_counter()
    with ThreadPoolExecutor(max(WORKERS)) as pool:
        for _ in pool.map(lambda part: [read(sample.path) for sample in part], _parts(samples, 16)):
            pass
    return len(samples) / (time.perf_counter() - start)


def _parts(samples: Sequence[Sample[Any]], size: int) -> list[Sequence[Sample[Any]]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def distances(job: Job, samples: Sequence[Sample[Any]]) -> list[float]:
    """PSNR in dB of the job's crops, in their own colours, against Pillow's antialiased bilinear of the whole file."""
    plain = job.policy.model_copy(update={"brightness": 0.0, "contrast": 0.0, "saturation": 0.0})
    canvas = (job.size, job.size)
    planner = Planner(plain, canvas, "letterbox", luck.keys(sample.id for sample in samples), seed=0, epochs=1)
    plans = [planner.plan(0, np.array([index])) for index in range(len(samples))]
    found = []
    for sample, batch in zip(samples, Loader(samples, plans, canvas, job.detail, workers=max(WORKERS)), strict=True):
        expected = _by_pillow(sample.path, batch.info[0].placement, canvas)
        error = batch.images[0].permute(1, 2, 0).numpy() * 255.0 - expected
        found.append(float(10 * np.log10(255**2 / max(1e-3, (error.astype(float) ** 2).mean()))))
    return found


def _by_pillow(path: Path, placement: Any, canvas: Size) -> Any:
    """The crop that an axis-aligned `placement` shows, flips included, float32 [H,W,3] in [0,255]."""
    inverse = np.linalg.inv(placement)
    x0, y0, x1, y1 = (*(inverse @ (0, 0, 1))[:2], *(inverse @ (canvas[1], canvas[0], 1))[:2])
    image = Image.open(path).convert("RGB")
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    shown = image.resize((canvas[1], canvas[0]), Image.Resampling.BILINEAR, box=tuple(round(end, 6) for end in box))
    shown = ImageOps.mirror(shown) if x1 < x0 else shown
    return np.asarray(ImageOps.flip(shown) if y1 < y0 else shown, np.float32)


def resident() -> float:
    """MB of this process that lie in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure_epochs(job: Job, samples: Sequence[Sample[Any]], count: int, place: Place) -> dict[str, Any]:
    """Images/s of each epoch, and MB in memory after it."""
    cpu = torch.device("cpu")
    keep_freed_memory(cpu)  # as our training does
    record: dict[str, Any] = {"images_per_second": [], "resident": []}
    for batches in epochs(job, samples, count, place, cpu):
        record["images_per_second"].append(epoch_rate(batches, skip=2))
        record["resident"].append(resident())
    return record


def measure_training(job: Job, samples: Sequence[Sample[Any]], steps: int) -> dict[str, Any]:
    """Images/s of a ResNet-18 that learns from our batches on a CUDA device."""
    device = torch.device("cuda")
    count = 1 + (20 + steps) * job.batch // len(samples)
    batches = (batch for epoch in epochs(job, samples, count + 1, "none", device) for batch in epoch)
    return {"images_per_second": [training_rate(batches, device, steps, warm_up=20)]}


def main() -> None:
    """Measure one thing about a job and leave the record as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", choices=JOBS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200, help="of a training")
    parser.add_argument("--cache", choices=get_args(Place), default="none")
    parser.add_argument("--what", choices=("epochs", "decoding", "distances", "training"), default="epochs")
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    job = JOBS[given.name]
    samples = samples_of(job, given.data)
    if given.what == "epochs":
        record = measure_epochs(job, samples, given.epochs, given.cache)
    elif given.what == "decoding":
        record = {"images_per_second": [decoding_rate(samples, job.detail) for _ in range(given.epochs)]}
    elif given.what == "distances":
        found = distances(job, samples)
        below = sum(value < LEAST for value in found)
        record = {"psnr": {"median": median(found), "least": min(found), "below": below, "images": len(found)}}
    else:
        record = measure_training(job, samples, given.steps)
    given.json.write_text(json.dumps(record))


if __name__ == "__main__":
    main()
