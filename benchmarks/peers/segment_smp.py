"""A plain fp32 segmentation loop: SMP's U-Net on a ResNet-18, albumentations on OpenCV images, torch's DataLoader."""

from __future__ import annotations

import argparse
import os
from itertools import islice
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import otherwise asks the network for newer versions

import albumentations as A
import cv2
import segmentation_models_pytorch as smp
import torch
from albumentations.pytorch import ToTensorV2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.common import options, rates, write


class Pairs(Dataset):
    """images/NAME.png with masks/NAME.png of class indices."""

    def __init__(self, folder: Path, size: int) -> None:
        self.images = sorted((folder / "images").glob("*.png"))
        self.masks = folder / "masks"
        self.steps = A.Compose(
            [A.Resize(size, size), A.HorizontalFlip(), A.VerticalFlip(), A.Normalize(), ToTensorV2()],
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path = self.images[index]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        mask = cv2.imread(str(self.masks / path.name), cv2.IMREAD_GRAYSCALE)
        done = self.steps(image=image, mask=mask)
        return done["image"], done["mask"].long()


def loader(arguments: argparse.Namespace) -> DataLoader:
    """Batches of augmented training images with their masks."""
    folder: Path = arguments.data / "train"
    return DataLoader(
        Pairs(folder if folder.is_dir() else arguments.data, arguments.image_size),
        batch_size=arguments.batch_size,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )


def main() -> None:
    """Train and record images/s of each epoch."""
    arguments = options(__doc__ or "", image_size=256, batch_size=8).parse_args()
    batches = loader(arguments)
    model = smp.Unet("resnet18", encoder_weights=None, classes=2).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loss = nn.CrossEntropyLoss()

    def epoch() -> int:
        seen = 0
        for images, masks in islice(batches, arguments.max_batches or None):
            optimiser.zero_grad()
            loss(model(images), masks).backward()
            optimiser.step()
            seen += len(images)
        return seen

    write(arguments.json, rates(epoch, arguments.epochs))


if __name__ == "__main__":
    main()
