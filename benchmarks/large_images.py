"""Prediction of large images in tiles beside a plain loop: `python -m benchmarks.large_images --repeats 3`.

Both divide the same generated images into tiles that share a quarter, run a U-Net on a ResNet-18 in fp32 and write
masks; each run has a process of its own, whose start, imports and first forward pass are not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import REPORTS, Comparison, ForeignLoad, interleave, run_module, write_report

TARGET = 2.0
CLASSES = ("background", "house", "road", "tree", "water")
PEER, OURS = "plain loop", "vision_tasks"
MODEL = "unet:resnet18"


def write_images(folder: Path, count: int, side: int) -> None:
    """JPEG files of smooth noise: as hard to decode as photos."""
    for number in range(count):
        luck = np.random.default_rng(number)
        coarse = luck.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
        pixels = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(int)
        pixels += luck.integers(-12, 13, pixels.shape)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels.clip(0, 255).astype(np.uint8))


def ours(folder: Path, out: Path, tile: int, batch_size: int) -> float:
    """Megapixels/s of `segment predict --tile`, drawings left out."""
    import torch

    import vision_tasks as vt
    from vision_tasks.models.checkpoint import save_model
    from vision_tasks.types import InputSpec

    weights = out / "weights.safetensors"
    model = vt.create_model(MODEL, CLASSES).eval()
    save_model(model, weights, InputSpec((tile, tile), "letterbox"))
    model.predict(torch.zeros(1, 3, tile, tile))
    pixels = sum(cv2.imread(str(path)).size / 3 for path in folder.iterdir())
    start = time.perf_counter()
    vt.predict("segment", weights=weights, source=folder, out=out / "masks", formats="masks", tile=tile,
               batch_size=batch_size, device="cpu")  # fmt: skip
    return pixels / 1e6 / (time.perf_counter() - start)


def compare(folder: Path, out: Path, tile: int, batch_size: int, repeats: int) -> Comparison:
    """Both in turns."""
    common = ["--tile", str(tile)]

    def run_peer() -> float:
        given = ["--data", str(folder), "--out", str(out / "peer"), "--classes", str(len(CLASSES)), *common]
        return float(run_module("benchmarks.peers.large_images", *given)["megapixels_per_second"])

    def run_ours() -> float:
        with tempfile.TemporaryDirectory(dir=out) as fresh:
            given = ["--only-ours", "--folder", str(folder), "--scratch", fresh, "--batch-size", str(batch_size)]
            return float(run_module("benchmarks.large_images", *given, *common)["megapixels_per_second"])

    with ForeignLoad() as foreign:
        rates = interleave({PEER: run_peer, OURS: run_ours}, repeats)
    name = f"{MODEL}, tiles of {tile} px, {len(list(folder.iterdir()))} images, batch {batch_size}"
    return Comparison(name, "megapixels/s", TARGET, f"{PEER}, batch 1", rates[PEER], rates[OURS], foreign.share)


def main() -> None:
    """Compare and write the report; with --only-ours measure once and leave a record (what the comparison calls)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--side", type=int, default=3000, help="of each image, in pixels")
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--only-ours", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_ours:
        rate = ours(given.folder, given.scratch, given.tile, given.batch_size)
        given.json.write_text(json.dumps({"megapixels_per_second": rate}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        write_images(folder, given.images, given.side)
        comparison = compare(folder, Path(scratch), given.tile, given.batch_size, given.repeats)
    write_report(given.out, "large_images", "Prediction of large images", [comparison])


if __name__ == "__main__":
    main()
