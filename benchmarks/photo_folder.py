"""A folder of photos of mixed sizes, as phones and web pages have them, made of other photos by cropping and scaling.

The same number of photos is the same bytes: all luck is that of a photo's number. Where the source has boxes they
follow, so that what is predicted for the folder can be scored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

BOX_DATA = "detect-bccd-voc"  # its photos have boxes; the others' objects are of other classes
PHOTOS = (f"{BOX_DATA}/JPEGImages/*.jpg", "detect-chess-coco/*/*.jpg", "classify-clothing-small/*/*/*.jpg")
CLASSES = ("RBC", "WBC", "Platelets")
TRUTH = "truth.json"
SIDES = (300, 1500)  # pixels, of the longer side
LEAST_CROP = 0.6  # of each side
LEAST_SEEN = 0.5  # of a box; what is cut off more than that is no truth any more
QUALITIES = (80, 95)  # of JPEG

Box = tuple[int, float, float, float, float]  # class, xyxy


@dataclass(frozen=True)
class Photo:
    """A source, and what is on it; None where nobody says."""

    path: Path
    boxes: list[Box] | None


def write_folder(root: Path, out: Path, count: int) -> None:
    """Write `count` photos into `out`/images, and COCO's JSON of those that have truth beside it."""
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    sources = [_photos(root, pattern) for pattern in PHOTOS]
    record = _Record()
    for number in range(count):
        photos = sources[number % len(sources)]
        pixels, boxes = _taken(photos[number // len(sources) % len(photos)], np.random.default_rng(number))
        quality = int(np.random.default_rng((number, 1)).integers(*QUALITIES))
        cv2.imwrite(str(images / f"{number:05}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if boxes is not None:
            record.add(f"{number:05}.jpg", pixels.shape[:2], boxes)
    (out / TRUTH).write_text(json.dumps(record.whole()))


def _photos(root: Path, pattern: str) -> list[Photo]:
    found = sorted(root.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{root / pattern}: there are no photos; --data-root says where they are")
    return [Photo(path, _voc_boxes(path) if pattern.startswith(BOX_DATA) else None) for path in found]


def _voc_boxes(photo: Path) -> list[Box]:
    """Boxes of a Pascal VOC file, whose corners are 1-based and inclusive."""
    tree = ElementTree.parse(photo.parent.parent / "Annotations" / f"{photo.stem}.xml")
    boxes = []
    for item in tree.iter("object"):
        x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{edge}", "0")) for edge in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append((CLASSES.index(item.findtext("name", "")), x0 - 1, y0 - 1, x1, y1))
    return boxes


def _taken(photo: Photo, luck: np.random.Generator) -> tuple[NDArray[np.uint8], list[Box] | None]:
    """A part of a photo at another size, and the boxes on it."""
    pixels = cv2.imread(str(photo.path))
    height, width = pixels.shape[:2]
    part_height, part_width = (int(side * luck.uniform(LEAST_CROP, 1)) for side in (height, width))
    y, x = int(luck.integers(0, height - part_height + 1)), int(luck.integers(0, width - part_width + 1))
    factor = luck.integers(*SIDES) / max(part_height, part_width)
    size = (max(1, round(part_width * factor)), max(1, round(part_height * factor)))
    shrinks = factor < 1
    part = cv2.resize(
        pixels[y : y + part_height, x : x + part_width], size,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )  # fmt: skip
    if photo.boxes is None:
        return part, None
    kept = [_moved(box, (x, y, x + part_width, y + part_height), factor) for box in photo.boxes]
    return part, [box for box in kept if box is not None]


def _moved(box: Box, part: tuple[int, int, int, int], factor: float) -> Box | None:
    label, x0, y0, x1, y1 = box
    left, top, right, bottom = max(x0, part[0]), max(y0, part[1]), min(x1, part[2]), min(y1, part[3])
    seen = max(0.0, right - left) * max(0.0, bottom - top)
    if seen < LEAST_SEEN * (x1 - x0) * (y1 - y0):
        return None
    corners = (left - part[0], top - part[1], right - part[0], bottom - part[1])
    return (label, *(factor * corner for corner in corners))  # type: ignore[return-value]


class _Record:
    """COCO's description, image by image."""

    def __init__(self) -> None:
        self.images: list[dict[str, object]] = []
        self.annotations: list[dict[str, object]] = []

    def add(self, name: str, size: tuple[int, ...], boxes: list[Box]) -> None:
        self.images.append({"id": len(self.images) + 1, "file_name": name, "height": size[0], "width": size[1]})
        for label, x0, y0, x1, y1 in boxes:
            row = {
                "id": len(self.annotations) + 1, "image_id": len(self.images), "category_id": label + 1, "iscrowd": 0,
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
            }  # fmt: skip
            self.annotations.append(row)

    def whole(self) -> dict[str, object]:
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
        return {"info": {}, "images": self.images, "annotations": self.annotations, "categories": categories}
