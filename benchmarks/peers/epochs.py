"""Other tools' loaders, epoch by epoch, with and without a cache: what `benchmarks.data_layer` compares ours with.

Two jobs. `crops`: JPEG files to normalised batches of 64 x 224 x 224, as in `peers.loaders`, by timm's and ultralytics'
own loaders too. `mosaic`: ultralytics' own data set for boxes, four images on a canvas of 640 x 640, batches of 16.
Caches are each tool's own; where it has none, its decoded images (bytes) lie in a list that its workers inherit.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.detect_ultralytics import stay_offline
from benchmarks.peers.loaders import BATCH, JITTER, MEAN, PEERS, SIZE, STD, WORKERS, Peer, read_pil

MOSAIC_SIZE = 640
MOSAIC_BATCH = 16

Epoch = Callable[[], Iterable[Tensor]]  # one epoch's batches of images


class Pictures(Dataset):
    """A folder's JPEG files as one image and a class, decoded at every visit or, kept, once."""

    def __init__(self, folder: Path, peer: Peer, keep: bool) -> None:
        self.files = sorted(folder.rglob("*.jpg"))
        self.read = peer.read
        self.transform = peer.augment
        self.kept = [peer.read(path) for path in self.files] if keep else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.kept[index] if self.kept else self.read(self.files[index])
        return self.transform(image), 0


def torch_epochs(name: str, folder: Path, workers: int, keep: bool) -> Epoch:
    """Decode and augment by one of `peers.loaders`, in torch's DataLoader."""
    loader = DataLoader(
        Pictures(folder, PEERS[name](normalise=True), keep),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    return lambda: (images for images, _ in loader)


def timm_epochs(name: str, folder: Path, workers: int, keep: bool) -> Epoch:
    """timm's transforms and loader; with its prefetcher, bytes leave the workers and are normalised behind them."""
    from timm.data import create_loader

    loader = create_loader(
        Pictures(folder, Peer(read_pil, lambda image: image), keep),
        input_size=SIZE,
        batch_size=BATCH,
        is_training=True,
        scale=(0.08, 1.0),
        color_jitter=(JITTER, JITTER, JITTER),
        mean=MEAN,
        std=STD,
        num_workers=workers,
        device=torch.device("cpu"),
        use_prefetcher=name == "timm-prefetcher",
    )
    return lambda: (images for images, _ in loader)


def ultralytics_crops(name: str, folder: Path, workers: int, keep: bool) -> Epoch:
    """ultralytics' data set for whole images and its loader."""
    from ultralytics.data.build import build_dataloader
    from ultralytics.data.dataset import ClassificationDataset

    settings = _ultralytics(
        imgsz=SIZE, cache="ram" if keep else False, scale=0.92, hsv_h=0.0, hsv_s=JITTER, hsv_v=JITTER, erasing=0.0,
        auto_augment=None,
    )  # fmt: skip
    loader = build_dataloader(ClassificationDataset(folder, settings, augment=True), BATCH, workers, drop_last=True)
    return lambda: (batch["img"] for batch in loader)


def ultralytics_mosaic(name: str, folder: Path, workers: int, keep: bool) -> Epoch:
    """ultralytics' data set for boxes and its loader, at its default augmentation; its trainer divides by 255."""
    from ultralytics.data.build import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    settings = _ultralytics(imgsz=MOSAIC_SIZE, cache="ram" if keep else False)
    data = check_det_dataset(str(folder / "data.yaml"))
    loader = build_dataloader(build_yolo_dataset(settings, data["train"], MOSAIC_BATCH, data), MOSAIC_BATCH, workers)
    return lambda: (batch["img"].float() / 255 for batch in loader)


def _ultralytics(**changes: Any) -> Any:
    """ultralytics' default settings, changed."""
    from ultralytics.cfg import get_cfg

    return get_cfg(overrides=changes)


CROPS: dict[str, Callable[[str, Path, int, bool], Epoch]] = {
    **dict.fromkeys(PEERS, torch_epochs),
    "timm": timm_epochs,
    "timm-prefetcher": timm_epochs,
    "ultralytics": ultralytics_crops,
}
MOSAIC: dict[str, Callable[[str, Path, int, bool], Epoch]] = {"ultralytics-mosaic": ultralytics_mosaic}


def epoch_rate(batches: Iterable[Tensor], skip: int) -> float:
    """Images/s of one epoch from its batch `skip` on: starting workers and filling their queues is not counted."""
    images, start = 0, 0.0
    for number, batch in enumerate(batches):
        if number == skip:
            start = time.perf_counter()
        elif number > skip:
            images += len(batch)
    if not images:
        raise ValueError(f"an epoch needs more than {skip + 1} batches; give more images")
    return images / (time.perf_counter() - start)


def epoch_rates(epoch: Epoch, epochs: int, skip: int) -> Iterator[float]:
    """The rate of each of so many epochs."""
    for _ in range(epochs):
        yield epoch_rate(epoch(), skip)


def main() -> None:
    """Measure the epochs of one peer with one number of workers and leave the record as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", choices=[*CROPS, *MOSAIC], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int, choices=WORKERS, default=2)
    parser.add_argument("--keep", action="store_true", help="decode once, before the first epoch")
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as settings:
        if given.name.startswith("ultralytics"):
            stay_offline(Path(settings))
        epoch = {**CROPS, **MOSAIC}[given.name](given.name, given.data, given.workers, given.keep)
        rates = list(epoch_rates(epoch, given.epochs, skip=2 * given.workers))
    given.json.write_text(json.dumps({"images_per_second": rates}))


if __name__ == "__main__":
    main()
