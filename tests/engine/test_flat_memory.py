"""Memory is that of a few batches, however many images there are, for every format."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A network that costs next to nothing, in a process of its own: argv are the task, the formats, the folder, how many
# images. It prints how many were predicted and the most memory that it ever had, in KiB.
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
# Every format once; drawings cost thirty times what the others do, so fewer images have them.
CASES = [
    ("classify", "csv,parquet,jsonl", 20_000),
    ("detect", "yolo,csv,parquet,coco,jsonl", 20_000),
    ("segment", "masks,parquet,jsonl", 20_000),
    ("detect", "drawings,jsonl", 4_000),
]


def images(folder, count):
    """A thousand to a folder, every hundredth broken: a portable pixmap of 16 x 16 pixels needs no encoder."""
    head, pixels = b"P6 16 16 255\n", bytes(range(256)) * 3
    for number in range(count):
        if number % 1000 == 0:
            place = folder / f"{number // 1000:04}"
            place.mkdir(parents=True)
        broken = number % 100 == 99
        (place / f"{number:06}.ppm").write_bytes(
            b"broken" if broken else head + pixels[number % 256 :] + pixels[: number % 256]
        )


def most_memory(task, formats, folder, count):
    images(folder, count)
    command = [sys.executable, "-c", PROGRAM, task, formats, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicted, failed, kilobytes = json.loads(done.stdout)
    assert (predicted, failed) == (count - count // 100, count // 100)
    return kilobytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
@pytest.mark.parametrize(("task", "formats", "count"), CASES)
def test_memory_is_flat(task, formats, count, tmp_path):
    few = most_memory(task, formats, tmp_path / "few", 1000)
    many = most_memory(task, formats, tmp_path / "many", count)
    assert many < 1.1 * few, f"{few} KiB with 1,000 images, {many} KiB with {count}"
