"""A plain fp32 detection loop: torchvision's Faster R-CNN, v2 transforms, torch's DataLoader, Pascal VOC data."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import get_model
from torchvision.transforms import v2

from benchmarks.peers.common import options, rates, write

CLASSES = ("RBC", "WBC", "Platelets")
Truth = dict[str, Tensor]


class Voc(Dataset):
    """Images of the training split with boxes, in the files as 1-based inclusive corners, and labels from 1."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.names = (folder / "ImageSets" / "Main" / "train.txt").read_text().split()
        self.steps = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.Resize((size, size), antialias=True),
                v2.ToDtype(torch.float32, scale=True),
                v2.SanitizeBoundingBoxes(),
            ]
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Truth]:
        name = self.names[index]
        image = tv_tensors.Image(decode_image(str(self.folder / "JPEGImages" / f"{name}.jpg"), ImageReadMode.RGB))
        root = ElementTree.parse(self.folder / "Annotations" / f"{name}.xml").getroot()
        boxes, labels = [], []
        for item in root.iter("object"):
            x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{edge}", "0")) for edge in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append((x0 - 1, y0 - 1, x1, y1))
            labels.append(1 + CLASSES.index(item.findtext("name", "")))
        xyxy = tv_tensors.BoundingBoxes(torch.tensor(boxes).view(-1, 4), format="XYXY", canvas_size=image.shape[-2:])
        done: tuple[Tensor, Truth] = self.steps(image, {"boxes": xyxy, "labels": torch.tensor(labels)})
        return done


def collate(samples: list[tuple[Tensor, Truth]]) -> tuple[list[Tensor], list[Truth]]:
    """torchvision's detectors take lists."""
    images, truths = zip(*samples, strict=True)
    return list(images), list(truths)


def loader(arguments: argparse.Namespace) -> DataLoader:
    """Batches of augmented training images with their boxes."""
    return DataLoader(
        Voc(arguments.data, arguments.image_size),
        batch_size=arguments.batch_size,
        shuffle=True,
        collate_fn=collate,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
    )


def main() -> None:
    """Train and record images/s of each epoch."""
    parser = options((__doc__ or "").splitlines()[0], image_size=192, batch_size=8)
    parser.add_argument("--model", default="fasterrcnn_mobilenet_v3_large_320_fpn")
    arguments = parser.parse_args()
    side = arguments.image_size
    model = get_model(
        arguments.model,
        weights=None,
        weights_backbone=None,
        num_classes=1 + len(CLASSES),
        min_size=side,
        max_size=side,
    ).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=1e-4)
    batches = loader(arguments)

    def epoch() -> int:
        seen = 0
        for images, truths in islice(batches, arguments.max_batches or None):
            optimiser.zero_grad()
            torch.stack(list(model(images, truths).values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            seen += len(images)
        return seen

    write(arguments.json, rates(epoch, arguments.epochs))


if __name__ == "__main__":
    main()
