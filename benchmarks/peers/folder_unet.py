"""A folder of images through SMP's U-Net in a plain loop: OpenCV, torch's DataLoader, masks at the original sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.folder import files, options
from benchmarks.peers.weights import classes_of, load_into

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Folder(Dataset):
    """Images stretched over the canvas, normalised; and the heights and widths that they had."""

    def __init__(self, folder: Path, side: int) -> None:
        self.files = files(folder)
        self.side = side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(str(self.files[index])), cv2.COLOR_BGR2RGB)
        small = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
        normal = (small.astype(np.float32) / 255 - MEAN) / STD
        return torch.from_numpy(normal.transpose(2, 0, 1).copy()), torch.tensor(image.shape[:2])


def predict(given: argparse.Namespace, model: torch.nn.Module) -> None:
    """Write a mask of class indices for every image."""
    dataset = Folder(given.source, given.image_size)
    names = iter(path.name for path in dataset.files)
    with torch.inference_mode():
        for images, sizes in DataLoader(dataset, given.batch_size, num_workers=given.workers):
            probability = model(images.to(given.device)).softmax(dim=1)
            for one, size in zip(probability, sizes.tolist(), strict=True):
                large = functional.interpolate(one[None], size, mode="bilinear")
                mask = large[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
                cv2.imwrite(str(given.out / f"{next(names)}.png"), mask)


def main() -> None:
    """Predict a folder."""
    given = options(__doc__, image_size=256, batch_size=8).parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model = smp.Unet("resnet34", encoder_weights=None, classes=len(classes_of(given.weights)))
    load_into(model, given.weights)
    predict(given, model.eval().to(given.device))


if __name__ == "__main__":
    main()
