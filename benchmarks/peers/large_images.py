"""A plain fp32 loop over tiles: decoded by OpenCV, one tile at a time through SMP's U-Net, averaged in NumPy."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def starts(length: int, side: int) -> list[int]:
    """Where tiles begin that share a quarter; the last ends with the image."""
    return sorted({*range(0, max(1, length - side), side * 3 // 4), max(0, length - side)})


def predict(model: torch.nn.Module, path: Path, side: int, classes: int) -> NDArray[np.uint8]:
    """The likeliest class of every pixel by the mean probability of the tiles that see it."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    total = np.zeros((classes, height, width), np.float32)
    count = np.zeros((height, width), np.float32)
    for y in starts(height, side):
        for x in starts(width, side):
            tile = (image[y : y + side, x : x + side].astype(np.float32) / 255 - MEAN) / STD
            with torch.no_grad():
                logits = model(torch.from_numpy(tile.transpose(2, 0, 1)[None].copy()))
                total[:, y : y + side, x : x + side] += logits.softmax(dim=1)[0].numpy()
            count[y : y + side, x : x + side] += 1
    return (total / count).argmax(axis=0).astype(np.uint8)


def main() -> None:
    """Predict all images of a folder and record megapixels/s."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tile", type=int, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model = smp.Unet("resnet18", encoder_weights=None, classes=given.classes).eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, given.tile, given.tile))
    pixels, start = 0, time.perf_counter()
    for path in sorted(given.data.iterdir()):
        mask = predict(model, path, given.tile, given.classes)
        cv2.imwrite(str(given.out / f"{path.name}.png"), mask)
        pixels += mask.size
    given.json.write_text(json.dumps({"megapixels_per_second": pixels / 1e6 / (time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
