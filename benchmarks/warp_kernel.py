"""The fused warp on CUDA beside the device's own copy, kornia and torchvision: `python -m benchmarks.warp_kernel`.

Counted are the bytes that must move: source pixels that a canvas shows, once, and the output, once. The kernel alone,
by the device's clock, stands beside a copy of 1 GiB (read and written); whole calls, drawing of luck included, beside
batched augmentations of the peers on images of one size, which is all that they take. All work is on the device before
the clock starts. Where there is no CUDA device, the report names every row as not measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import REPORTS, Comparison, ForeignLoad, environment, interleave, write_report
from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.geometry import bounds
from vision_tasks.types import Patch, Plan, RaggedImages, Size
from vision_tasks.warp import settled

NAME, TITLE, UNIT, OURS = "warp_kernel", "The fused warp on CUDA", "GB/s of bytes that must move", "vision_tasks"
SHARE_OF_COPY, TIMES_THE_PEERS = 0.6, 5.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
CALLS = 20  # in one measurement
GREY = np.full((1, 1, 3), 128, np.uint8)

CROPS = Policy(crop_area=(0.08, 1.0), flip_x=0.5, **JITTER)
MOSAIC = Policy(mosaic=1.0, flip_x=0.5, **JITTER)


@dataclass(frozen=True)
class Case:
    """A kind of batch: originals between two sizes, canvases, luck."""

    name: str
    originals: tuple[Size, Size]
    canvas: int
    batch: int
    policy: Policy


CASES = (
    Case("random crops at 224 of photos of 0.2 megapixels", ((333, 400), (400, 560)), 224, 256, CROPS),
    Case("random crops at 224 of photos of 2 megapixels", ((1080, 1600), (1200, 1920)), 224, 64, CROPS),
    Case("mosaic at 640 of photos of 0.3 megapixels", ((427, 640), (480, 640)), 640, 32, MOSAIC),
    Case("letterbox at 640 of photos of 12 megapixels", ((3000, 4000), (3000, 4000)), 640, 16, Policy()),
)
ALIKE = Case("random crops at 224, flips, colours, normalised; fp32", ((375, 500), (375, 500)), 224, 256, CROPS)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
PEERS = ("torchvision v2", "kornia", "kornia, compiled")


@dataclass(frozen=True)
class Work:
    """What `warp_batch` is given besides the pixels, and the bytes that it must move."""

    samples: list[int]
    canvas: Tensor
    matrix: Tensor
    colour: Tensor
    region: Tensor
    touched: int


def originals(case: Case) -> RaggedImages:
    """One random image a canvas, on the device."""
    random = np.random.default_rng(0)
    low, high = np.array(case.originals)
    sizes = random.integers(low, high + 1, (case.batch, 2))
    images = RaggedImages.pack([random.integers(0, 256, (*size, 3), np.uint8) for size in sizes.tolist()])
    return images.to("cuda")


def plans(case: Case) -> Iterator[Plan]:
    """The batches of one epoch after the other."""
    keys = luck.keys(map(str, range(case.batch)))
    planner = Planner(case.policy, (case.canvas, case.canvas), "letterbox", keys, seed=0, epochs=1_000_000)
    epoch = 0
    while True:
        yield planner.plan(epoch, np.arange(case.batch))
        epoch += 1


def lay_out(case: Case, images: RaggedImages, plan: Plan) -> Work:
    """A plan as `warp_batch` takes it."""
    whole = (0, 0, case.canvas, case.canvas)
    pairs = [(row, step) for row, steps in enumerate(plan) for step in steps if isinstance(step, Patch)]
    sizes = images.size.tolist()
    matrices = np.array([patch.place((sizes[patch.sample][0], sizes[patch.sample][1])) for _, patch in pairs])
    regions = [patch.region or whole for _, patch in pairs]
    seen = [_seen(sizes[patch.sample], matrix, region)
            for (_, patch), matrix, region in zip(pairs, matrices, regions, strict=True)]  # fmt: skip
    return Work(
        [patch.sample for _, patch in pairs],
        torch.tensor([row for row, _ in pairs]),
        torch.from_numpy(matrices),
        torch.from_numpy(np.stack([_colour(patch) for _, patch in pairs])),
        torch.tensor(regions),
        3 * sum(seen),
    )


def _colour(patch: Patch) -> NDArray[np.float32]:
    """[3,4], for an image of a middle grey: which mean it has costs nothing here."""
    return np.eye(3, 4, dtype=np.float32) if patch.colour is None else settled(patch.colour, GREY)


def _seen(size: list[int], matrix: Any, region: tuple[int, int, int, int]) -> int:
    """Pixels of an image of `size` that the region shows."""
    x0, y0, x1, y1 = region
    shifted = np.linalg.inv(matrix) @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
    low, high = bounds((y1 - y0, x1 - x0), shifted)
    extent = np.clip(high, 0, size[::-1]) - np.clip(low, 0, size[::-1])
    return int(extent.prod())


def warp(case: Case, images: RaggedImages, work: Work, dtype: torch.dtype) -> Tensor:
    """Ours, normalised."""
    from vision_tasks.warp_triton import warp_batch

    chosen = RaggedImages(images.data, images.offset[work.samples], images.size[work.samples])
    size = (case.canvas, case.canvas)
    return warp_batch(chosen, work.canvas, work.matrix, size, case.batch, colour=work.colour, region=work.region,
                      mean=MEAN, std=STD, dtype=dtype)  # fmt: skip


def copy_rate() -> float:
    """GB/s that the device reads and writes in its own copy of 1 GiB."""
    source = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    target.copy_(source)
    start.record()
    for _ in range(CALLS):
        target.copy_(source)
    end.record()
    end.synchronize()
    return 2 * CALLS * source.numel() / 1e6 / start.elapsed_time(end)


def kernel_seconds(work: Callable[[], Any]) -> float:
    """The median time that the device spends in our kernel."""
    from torch.profiler import ProfilerActivity, profile

    work()
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        for _ in range(CALLS):
            work()
        torch.cuda.synchronize()
    return median(event.time_range.elapsed_us() for event in record.events() if "_warp_kernel" in event.name) / 1e6


def call_seconds(work: Callable[[], Any]) -> float:
    """The time of whole calls, host and device, one behind another."""
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(CALLS):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / CALLS


def bandwidth(case: Case, dtype: str, repeats: int) -> Comparison:
    """The kernel alone beside the device's copy."""
    images = originals(case)
    work = lay_out(case, images, next(plans(case)))
    moved = work.touched + case.batch * 3 * case.canvas**2 * DTYPES[dtype].itemsize
    ours = lambda: moved / 1e9 / kernel_seconds(lambda: warp(case, images, work, DTYPES[dtype]))  # noqa: E731
    return _compare(f"{case.name}, {dtype}", "the device's copy", SHARE_OF_COPY, copy_rate, ours, repeats)


def beside(peer: str, repeats: int) -> Comparison:
    """Whole calls beside a peer's."""
    images, drawn = originals(ALIKE), plans(ALIKE)
    work = lay_out(ALIKE, images, next(drawn))
    moved = (work.touched + ALIKE.batch * 3 * ALIKE.canvas**2 * 4) / 1e9
    dense = images.data.view(ALIKE.batch, *ALIKE.originals[0], 3).permute(0, 3, 1, 2).contiguous()
    theirs = torchvision_pipeline() if peer == PEERS[0] else kornia_pipeline(compiled=peer == PEERS[2])

    def our_call() -> Tensor:
        return warp(ALIKE, images, lay_out(ALIKE, images, next(drawn)), torch.float32)

    return _compare(ALIKE.name, peer, TIMES_THE_PEERS, lambda: moved / call_seconds(lambda: theirs(dense)),
                    lambda: moved / call_seconds(our_call), repeats)  # fmt: skip


def torchvision_pipeline() -> Callable[[Tensor], Tensor]:
    """One draw for a whole batch, as it has it."""
    from torchvision.transforms import v2

    return v2.Compose([
        v2.RandomResizedCrop(ALIKE.canvas, antialias=True), v2.RandomHorizontalFlip(), v2.ColorJitter(**JITTER),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ])  # fmt: skip


def kornia_pipeline(compiled: bool) -> Callable[[Tensor], Tensor]:
    """A draw for each image; it takes floats."""
    from kornia import augmentation as K

    steps = torch.nn.Sequential(
        K.RandomResizedCrop((ALIKE.canvas, ALIKE.canvas)), K.RandomHorizontalFlip(), K.ColorJiggle(**JITTER, p=1.0),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    ).cuda()  # fmt: skip
    run = torch.compile(steps) if compiled else steps
    return lambda images: run(images.float() / 255)


def _compare(
    name: str, peer: str, target: float, theirs: Callable[[], float], ours: Callable[[], float], repeats: int
) -> Comparison:
    with ForeignLoad() as load:
        rates = interleave({peer: theirs, OURS: ours}, repeats)
    return Comparison(name, UNIT, target, peer, rates[peer], rates[OURS], load.share)


def rows() -> list[tuple[str, str]]:
    """Every row of the report: what, and beside whom."""
    kernels = [(f"{case.name}, {dtype}", "the device's copy") for case in CASES for dtype in DTYPES]
    return kernels + [(ALIKE.name, peer) for peer in PEERS]


def missing_peers() -> list[str]:
    """Those that aren't installed."""
    return [] if find_spec("kornia") else [peer for peer in PEERS if "kornia" in peer]


def write_unmeasured(folder: Path) -> None:
    """The report of a machine without CUDA: the rows, and why they are empty."""
    facts, named = environment(), [f"{name}, beside {peer}: no CUDA device" for name, peer in rows()]
    folder.mkdir(parents=True, exist_ok=True)
    record = {"environment": facts, "comparisons": [], "not_measured": named}
    (folder / f"{NAME}.json").write_text(json.dumps(record, indent=2) + "\n")
    lines = "".join(f"- {line}\n" for line in named)
    text = f"# {TITLE}\n\n`{facts['command']}`, {facts['date']}\n\nNot measured:\n\n{lines}"
    (folder / f"{NAME}.md").write_text(text)
    print(text)


def main() -> None:
    """Measure what can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        write_unmeasured(arguments.out)
        return
    missing = missing_peers()
    comparisons = [bandwidth(case, dtype, arguments.repeats) for case in CASES for dtype in DTYPES]
    comparisons += [beside(peer, arguments.repeats) for peer in PEERS if peer not in missing]
    not_measured = [f"{ALIKE.name}, beside {peer}: not installed" for peer in missing]
    write_report(arguments.out, NAME, f"{TITLE}: {torch.cuda.get_device_name()}", comparisons, not_measured)


if __name__ == "__main__":
    main()
