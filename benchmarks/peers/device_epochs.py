"""Training a ResNet-18 at 224 on a CUDA device, fed by other tools' loaders: what waiting for data costs there.

`alone` learns from one batch that lies on the device already: the rate that a loader is measured by. The others feed
the same loop: timm's prefetcher; torchvision v2 with images decoded by workers and augmented one by one on the device;
kornia, which wants images of one size and so gets them stretched to 400 x 400 by the workers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.peers.epochs import Pictures
from benchmarks.peers.loaders import BATCH, JITTER, MEAN, SIZE, STD, Peer, _torchvision_steps, read_pil

KORNIA_SIZE = 400

Epochs = Callable[[Path, int, torch.device], Iterable[Tensor]]  # endless normalised batches on the device


def alone(folder: Path, workers: int, device: torch.device) -> Iterator[Tensor]:
    """No loading at all."""
    return repeat(torch.randn(BATCH, 3, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last))


def timm_prefetcher(folder: Path, workers: int, device: torch.device) -> Iterator[Tensor]:
    """timm's loader, whose prefetcher copies bytes and normalises them on a side stream."""
    from timm.data import create_loader

    loader = create_loader(
        Pictures(folder, Peer(read_pil, lambda image: image), keep=False),
        input_size=SIZE,
        batch_size=BATCH,
        is_training=True,
        scale=(0.08, 1.0),
        color_jitter=(JITTER, JITTER, JITTER),
        mean=MEAN,
        std=STD,
        num_workers=workers,
        pin_memory=True,
        device=device,
        use_prefetcher=True,
    )
    return (images for _ in repeat(None) for images, _ in loader)


def torchvision_device(folder: Path, workers: int, device: torch.device) -> Iterator[Tensor]:
    """Workers decode; v2 draws for every image anew, on the device."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    steps = v2.Compose([*_torchvision_steps(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    peer = Peer(lambda path: decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB), lambda image: image)
    for decoded in _lists(folder, peer, workers):
        yield torch.stack([steps(image.to(device, non_blocking=True)) for image in decoded])


def kornia_device(folder: Path, workers: int, device: torch.device) -> Iterator[Tensor]:
    """Workers decode and stretch; kornia augments whole batches on the device."""
    import kornia.augmentation as K
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional as F

    steps = nn.Sequential(
        K.RandomResizedCrop((SIZE, SIZE)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(JITTER, JITTER, JITTER),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    square = [KORNIA_SIZE, KORNIA_SIZE]
    peer = Peer(
        lambda path: F.resize(decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB), square), lambda image: image
    )
    for decoded in _lists(folder, peer, workers):
        yield steps(torch.stack(decoded).to(device, non_blocking=True).float() / 255)


def _lists(folder: Path, peer: Peer, workers: int) -> Iterator[list[Tensor]]:
    """Endless batches of images of different sizes."""
    loader: DataLoader[Any] = DataLoader(
        Pictures(folder, peer, keep=False),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=lambda rows: [image for image, _ in rows],
        multiprocessing_context="fork" if workers else None,
    )
    return chain.from_iterable(repeat(loader))


FEEDERS: dict[str, Epochs] = {
    "alone": alone,
    "timm-prefetcher": timm_prefetcher,
    "torchvision-device": torchvision_device,
    "kornia": kornia_device,
}


def training_rate(batches: Iterable[Tensor], device: torch.device, steps: int, warm_up: int = 20) -> float:
    """Images/s of training steps in bfloat16, channels-last, from the end of the warm-up to that of the last step."""
    from torchvision.models import resnet18

    net = resnet18(num_classes=10).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    classes = torch.arange(BATCH, device=device) % 10
    start = 0.0
    for number, images in enumerate(islice(batches, warm_up + steps)):
        if number == warm_up:
            torch.cuda.synchronize(device)
            start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(images.contiguous(memory_format=torch.channels_last))
        nn.functional.cross_entropy(logits.float(), classes).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    torch.cuda.synchronize(device)
    return BATCH * steps / (time.perf_counter() - start)


def main() -> None:
    """Train with one feeder and leave the record as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", choices=FEEDERS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device("cuda")
    rate = training_rate(FEEDERS[given.name](given.data, given.workers, device), device, given.steps)
    given.json.write_text(json.dumps({"images_per_second": [rate]}))


if __name__ == "__main__":
    main()
