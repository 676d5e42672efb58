"""A plain fp32 classification loop: torchvision's ResNet-18, v2 transforms on PIL images, torch's DataLoader."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from benchmarks.peers.common import options, rates, write

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loader(arguments: argparse.Namespace) -> DataLoader:
    """Batches of augmented training images."""
    steps = [
        v2.RandomResizedCrop(arguments.image_size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    folder: Path = arguments.data / "train"
    images = ImageFolder(folder if folder.is_dir() else arguments.data, v2.Compose(steps))
    return DataLoader(
        images,
        batch_size=arguments.batch_size,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )


def main() -> None:
    """Train and record images/s of each epoch."""
    arguments = options(__doc__ or "", image_size=128, batch_size=32).parse_args()
    batches = loader(arguments)
    model = resnet18(num_classes=len(batches.dataset.classes)).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    loss = nn.CrossEntropyLoss()

    def epoch() -> int:
        seen = 0
        for images, labels in islice(batches, arguments.max_batches or None):
            optimiser.zero_grad()
            loss(model(images), labels).backward()
            optimiser.step()
            seen += len(images)
        return seen

    write(arguments.json, rates(epoch, arguments.epochs))


if __name__ == "__main__":
    main()
