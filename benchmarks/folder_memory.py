"""The most memory that `predict` ever has, over 1,000 images and over many: `python -m benchmarks.folder_memory`.

A network that costs next to nothing, in a process of its own, so that what grows can only be what keeps account of
images. Every hundredth file is broken, for failures are kept account of as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import REPORTS, ROOT, Comparison, write_report

FEW = 1000
FLAT = 1 / 1.1  # what few images take over what many take, at least

# argv are the task, the formats and the folder. It prints how many were predicted, how many failed, and the most
# memory that it ever had, in KiB.
PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.predict import Settings, predict
from vision_tasks.engine.sources import find_images
from vision_tasks.models.base import ModelInfo
from vision_tasks.tasks import Report, get_task
from vision_tasks.types import Boxes, InputSpec, Labels, Masks

class Stub:
    info = ModelInfo("stub", "", ("a", "b"), 1, "")
    def predict(self, images):
        count = len(images)
        if sys.argv[1] == "classify":
            return Labels(torch.full((count, 2), 0.5))
        if sys.argv[1] == "segment":
            return Masks(torch.zeros(count, 16, 16, dtype=torch.uint8), 2)
        corners, score = torch.tensor([[1.0, 2.0, 9.0, 8.0]] * 3), torch.full((3,), 0.5)
        box = Boxes.single(corners, torch.tensor([0, 1, 0]), score=score)
        return Boxes.stack([box] * count)

folder, out = Path(sys.argv[3]), Path(sys.argv[3] + "-out")
out.mkdir()
settings = Settings(tuple(sys.argv[2].split(",")), Report(), 16)
model = Inference(Stub(), torch.device("cpu"), "fp32")
summary = predict(model, get_task(sys.argv[1]), find_images([folder]), InputSpec((16, 16), "letterbox"), out, settings)
print(json.dumps([summary.predicted, summary.failed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@dataclass(frozen=True)
class Case:
    """A task, the formats written, and what part of the images is taken."""

    task: str
    formats: str
    share: int = 1  # one image of so many


# Every format once; drawings cost thirty times what the others do, so fewer images have them.
CASES = (
    Case("classify", "csv,parquet,jsonl"),
    Case("detect", "yolo,csv,parquet,coco,jsonl"),
    Case("segment", "masks,parquet,jsonl"),
    Case("detect", "drawings,jsonl", share=5),
)


def write_images(folder: Path, count: int) -> None:
    """A thousand to a folder, every hundredth broken: a portable pixmap of 16 x 16 pixels needs no encoder."""
    head, pixels = b"P6 16 16 255\n", bytes(range(256)) * 3
    for number in range(count):
        place = folder / f"{number // 1000:04}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        whole = head + pixels[number % 256 :] + pixels[: number % 256]
        (place / f"{number:06}.ppm").write_bytes(b"broken" if number % 100 == 99 else whole)


def most_memory(case: Case, folder: Path, count: int) -> int:
    """In KiB, over `count` images, which are written to `folder`. Raises RuntimeError if any image is not told of."""
    write_images(folder, count)
    command = [sys.executable, "-c", PROGRAM, case.task, case.formats, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    predicted, failed, kilobytes = json.loads(done.stdout)
    if (predicted, failed) != (count - count // 100, count // 100):
        raise RuntimeError(f"of {count} images {predicted} were predicted and {failed} failed")
    return int(kilobytes)


def compare(case: Case, images: int, work: Path) -> Comparison:
    """Both in one row, the few as if they were ours."""
    folder, count = work / f"{case.task}-{case.formats}", images // case.share
    few, many = (most_memory(case, folder / str(each), each) / 1024 for each in (FEW, count))
    print(f"{case.task} to {case.formats}: {few:.0f} MiB over {FEW} images, {many:.0f} over {count}", flush=True)
    name = f"{case.task} to {case.formats}, the most MiB over {FEW} images beside that over {count}"
    return Comparison(name, "MiB", FLAT, f"{count} images", [many], [few])


def main() -> None:
    """Compare and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=REPORTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        rows = [compare(case, given.images, Path(work)) for case in CASES]
    write_report(given.out, "folder_memory", "Memory of a folder's prediction", rows)


if __name__ == "__main__":
    main()
