"""A folder of images through a ResNet-50: a plain torchvision loop, or timm's loader as its script has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.folder import files, options, write
from benchmarks.peers.weights import classes_of, load_into

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Folder(Dataset):
    """Images of a folder by their names, on the canvas that the network was trained for."""

    def __init__(self, folder: Path, side: int) -> None:
        from torchvision import transforms

        self.files = files(folder)
        self.steps = transforms.Compose(
            [transforms.Resize(side), transforms.CenterCrop(side), transforms.ToTensor(),
             transforms.Normalize(MEAN, STD)]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        found: Tensor = self.steps(Image.open(self.files[index]).convert("RGB"))
        return found


def torchvision_parts(given: argparse.Namespace, classes: int) -> tuple[nn.Module, Iterable[Tensor]]:
    """Its network, and batches."""
    from torchvision.models import resnet50

    dataset = Folder(given.source, given.image_size)
    loader = DataLoader(dataset, given.batch_size, num_workers=given.workers, pin_memory=given.device != "cpu")
    return resnet50(num_classes=classes), loader


def timm_parts(given: argparse.Namespace, classes: int) -> tuple[nn.Module, Iterable[Tensor]]:
    """The same by timm: its dataset, its transforms, its loader with prefetcher."""
    import timm
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset(root=str(given.source), name=""), (3, given.image_size, given.image_size), given.batch_size,
        interpolation="bilinear", mean=MEAN, std=STD, crop_pct=1.0, num_workers=given.workers,
        device=torch.device(given.device),
    )  # fmt: skip
    return timm.create_model("resnet50", num_classes=classes), (images for images, _ in loader)


def rows(model: nn.Module, batches: Iterable[Tensor], device: str) -> Iterator[tuple[int, float]]:
    """The first class and its probability of every image."""
    with torch.inference_mode():
        for images in batches:
            score, label = model(images.to(device, non_blocking=True)).softmax(dim=1).max(dim=1)
            yield from zip(label.tolist(), score.tolist(), strict=True)


def main() -> None:
    """Predict a folder."""
    parser = options(__doc__, image_size=224, batch_size=32)
    parser.add_argument("--library", choices=("torchvision", "timm"), required=True)
    given = parser.parse_args()
    classes = classes_of(given.weights)
    make = timm_parts if given.library == "timm" else torchvision_parts
    model, batches = make(given, len(classes))
    load_into(model, given.weights)
    found = rows(model.eval().to(given.device), batches, given.device)
    lines = ((path, [{"label": classes[label], "score": score}]) for path, (label, score) in
             zip(files(given.source), found, strict=True))  # fmt: skip
    write(given.out, lines)


if __name__ == "__main__":
    main()
