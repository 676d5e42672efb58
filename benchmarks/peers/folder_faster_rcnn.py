"""A folder of images through Faster R-CNN as torchvision's documentation has it: read, convert, one image at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import get_model
from torchvision.transforms.v2.functional import to_dtype

from benchmarks.peers.folder import Row, files, options, write
from benchmarks.peers.weights import classes_of, load_into

MODEL = "fasterrcnn_mobilenet_v3_large_fpn"


def rows(
    model: nn.Module, folder: Path, classes: list[str], device: str, conf: float
) -> Iterator[tuple[Path, list[Row]]]:
    """The boxes of every image above the confidence threshold."""
    with torch.inference_mode():
        for path in files(folder):
            image = to_dtype(decode_image(str(path), ImageReadMode.RGB), torch.float32, scale=True)
            (found,) = model([image.to(device)])
            sure = found["scores"] > conf
            columns = (found[name][sure].tolist() for name in ("labels", "scores", "boxes"))
            yield path, [{"label": classes[label - 1], "score": score, "box": box}
                         for label, score, box in zip(*columns, strict=True)]  # fmt: skip


def main() -> None:
    """Predict a folder."""
    parser = options(__doc__, image_size=640, batch_size=1)
    parser.add_argument("--conf", type=float, default=0.25)
    given = parser.parse_args()
    classes = classes_of(given.weights)
    side = given.image_size
    model = get_model(
        MODEL, weights=None, weights_backbone=None, num_classes=1 + len(classes), min_size=side, max_size=side
    )
    load_into(model, given.weights)
    write(given.out, rows(model.eval().to(given.device), given.source, classes, given.device, given.conf))


if __name__ == "__main__":
    main()
