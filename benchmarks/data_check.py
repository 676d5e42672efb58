"""How fast a data set is looked through, without pixels and with them: `python -m benchmarks.data_check`.

Without pixels the peer is the target itself, 1,000 images/s a core; with them it is decoding alone, by OpenCV in as
many threads as there are cores. The page cache is warm for all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

import cv2
import numpy as np

from benchmarks.harness import REPORTS, Comparison, ForeignLoad, interleave, rate, write_report
from vision_tasks.doctor.check import check_dataset

A_CORE = 1000  # images/s that one core looks through without pixels
BOUND_BY_DECODE = 0.8  # of the rate of decoding alone
_SIDES, _NOISE, _QUALITY = (600, 800), 8, 78  # give files of about 100 KB


def write_photos(folder: Path, count: int) -> list[Path]:
    """Two classes of JPEG files that differ, soft shapes under grain as photos have them."""
    paths = [folder / "train" / "ab"[number % 2] / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        luck = np.random.default_rng(number)
        colours = luck.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        shapes = cv2.resize(colours, _SIDES[::-1], interpolation=cv2.INTER_CUBIC)
        grain = luck.normal(0, _NOISE, (*_SIDES, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(shapes + grain, 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return paths


def decode(paths: list[Path]) -> None:
    """All files, by all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda path: cv2.imread(str(path)).shape, paths):
            pass


def compare(folder: Path, paths: list[Path], repeats: int) -> list[Comparison]:
    """Both rows."""
    count, wanted = len(paths), float(A_CORE * (os.cpu_count() or 1))
    size = f"files of {mean(path.stat().st_size for path in paths) / 1e3:.0f} KB"
    contenders = {
        "decoding": lambda: rate(lambda: decode(paths), count),
        "pixels": lambda: rate(lambda: check_dataset(folder), count),
        "headers": lambda: rate(lambda: check_dataset(folder, pixels=False), count),
    }
    with ForeignLoad() as foreign:
        rates = interleave(contenders, repeats)
    named = f"{A_CORE} a core"
    headers = Comparison("without pixels", "images/s", 1.0, named, [wanted] * repeats, rates["headers"])
    pixels = Comparison(
        "with pixels", "images/s", BOUND_BY_DECODE, "decoding alone", rates["decoding"], rates["pixels"]
    )
    for row in (headers, pixels):
        row.foreign_load, row.note = foreign.share, size
    return [headers, pixels]


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        rows = compare(folder, write_photos(folder, given.images), given.repeats)
    write_report(given.out, "data_check", "Looking through a data set", rows, ["nothing: no device takes part"])


if __name__ == "__main__":
    main()
