"""Other tools' loaders on one job: JPEG files to augmented batches of 64 float images of 224 x 224.

Each decodes, takes a random resized crop, flips half of the images, jitters brightness, contrast and saturation, and
gives float32 in [0, 1], or normalised. All of it runs in torch's DataLoader.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIZE = 224
BATCH = 64
JITTER = 0.4
WORKERS = (0, 1, 2)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class Peer(NamedTuple):
    """A tool's way to read a file, and what it makes of the decoded image."""

    read: Callable[[Path], Any]
    augment: Callable[[Any], Tensor]


class Images(Dataset):
    """A folder's JPEG files, repeated so that no epoch ends within a measurement."""

    def __init__(self, folder: Path, peer: Peer, repeats: int = 1000) -> None:
        self.files = sorted(folder.rglob("*.jpg"))
        self.peer = peer
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.files) * self.repeats

    def __getitem__(self, index: int) -> Tensor:
        return self.peer.augment(self.peer.read(self.files[index % len(self.files)]))


def albumentations_opencv(normalise: bool = False) -> Peer:
    """OpenCV decodes, albumentations augments."""
    import albumentations as A
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(0)
    steps = A.Compose(
        [
            A.RandomResizedCrop((SIZE, SIZE)),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(JITTER, JITTER, JITTER, hue=0, p=1),
            A.Normalize(MEAN, STD) if normalise else A.ToFloat(max_value=255),
            ToTensorV2(),
        ]
    )
    return Peer(lambda path: cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), lambda pixels: steps(image=pixels)["image"])


def torchvision_pil(normalise: bool = False) -> Peer:
    """PIL decodes and torchvision v2 augments PIL images."""
    from torchvision.transforms import v2

    steps = v2.Compose([*_torchvision_steps(), v2.ToImage(), *_to_float(normalise)])
    return Peer(read_pil, lambda image: steps(image).as_subclass(Tensor))


def torchvision_tensor(normalise: bool = False) -> Peer:
    """torchvision.io decodes and torchvision v2 augments uint8 tensors."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    steps = v2.Compose([*_torchvision_steps(), *_to_float(normalise)])
    return Peer(lambda path: decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB), steps)


def read_pil(path: Path) -> Any:
    """PIL's image, decoded."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _torchvision_steps() -> list[torch.nn.Module]:
    from torchvision.transforms import v2

    return [
        v2.RandomResizedCrop(SIZE, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=JITTER, contrast=JITTER, saturation=JITTER),
    ]


def _to_float(normalise: bool) -> list[torch.nn.Module]:
    from torchvision.transforms import v2

    return [v2.ToDtype(torch.float32, scale=True), *([v2.Normalize(MEAN, STD)] if normalise else [])]


PEERS: dict[str, Callable[..., Peer]] = {
    "albumentations": albumentations_opencv,
    "torchvision-pil": torchvision_pil,
    "torchvision-tensor": torchvision_tensor,
}


def batches(name: str, folder: Path, workers: int) -> DataLoader:
    """The named peer's loader; forked workers inherit its transforms."""
    return DataLoader(
        Images(folder, PEERS[name]()),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )


def steady_rate(stream: Iterable[object], seconds: float, warm_up: int) -> float:
    """Batches/s of a stream once `warm_up` batches have passed, so that filled queues are not counted as speed."""
    start, count = 0.0, -warm_up
    for _ in stream:
        count += 1
        if count == 0:
            start = time.perf_counter()
        elif count > 0 and time.perf_counter() - start >= seconds:
            return count / (time.perf_counter() - start)
    raise ValueError("the stream ended before the measurement did")


def measure(name: str, folder: Path, seconds: float, workers: int) -> float:
    """Images/s of the named peer with so many worker processes."""
    torch.set_num_threads(1)
    return BATCH * steady_rate(cycle(batches(name, folder, workers)), seconds, warm_up=2 * workers + 1)


def main() -> None:
    """Measure one peer with one number of workers and leave the record as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", choices=PEERS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    rate = measure(arguments.name, arguments.data, arguments.seconds, arguments.workers)
    arguments.json.write_text(json.dumps({"images_per_second": rate}))


if __name__ == "__main__":
    main()
