"""The embedded data: scikit-learn's 1,797 real handwritten digits, and scenes composed from them.

Everything is written as ordinary files in ordinary formats (folder per class, Pascal VOC, image and mask pairs), so
that what the demo shows is what any user's folder would give. The same call writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from vision_tasks import luck
from vision_tasks.warp import Pixels

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHARES = {"train": 0.75, "val": 0.1, "test": 0.15}
SCENES = {"train": 480, "val": 60, "test": 120}
SIDE = 96  # of a scene, in pixels

_TILE_SIDE = 32
_INK = 0.35  # a pixel belongs to a digit if at least this much ink is on it

Ink = NDArray[np.float32]  # [side,side] in [0,1]; 8x8 as the digits come
_Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture with exact truth."""

    pixels: Pixels  # [SIDE,SIDE,3]
    mask: NDArray[np.uint8]  # [SIDE,SIDE], 0 = background, 1 + digit
    objects: tuple[tuple[int, _Box], ...]  # digit and x0, y0, x1, y1 (end exclusive) of its mask


def split_digits() -> dict[str, list[tuple[Ink, int, str]]]:
    """All digits as (ink, digit, id) by split; the scenes of a split use only its digits."""
    digits = load_digits()
    ids = [f"digit-{index:04d}" for index in range(len(digits.target))]
    order = luck.order(0, "digits", 0, luck.keys(ids))
    ends = np.cumsum([0.0, *SHARES.values()]) * len(ids)
    return {
        split: [
            ((digits.images[i] / 16).astype(np.float32), int(digits.target[i]), ids[i])
            for i in order[round(ends[k]) : round(ends[k + 1])]
        ]
        for k, split in enumerate(SHARES)
    }


def write_digits(root: Path) -> Path:
    """Single digits in the scenes' inks and grounds, 32x32 PNG, a folder a class; returns the data set's folder."""
    for split, members in split_digits().items():
        for ink, digit, name in members:
            path = root / split / NAMES[digit] / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_tile(ink, name)).save(path)
    return root


def _tile(ink: Ink, name: str) -> Pixels:
    random = _random(name)
    pixels = _ground(random, _TILE_SIDE)
    _print_ink(pixels, _enlarged(ink, _TILE_SIDE), random)
    return np.rint(pixels).astype(np.uint8)


def write_scenes(voc: Path, pairs: Path) -> None:
    """The same scenes twice: as Pascal VOC in the folder `voc`, as image and mask pairs in the folder `pairs`."""
    (voc / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for folder in (voc / "JPEGImages", voc / "Annotations"):
        folder.mkdir(parents=True, exist_ok=True)
    pairs.mkdir(parents=True, exist_ok=True)
    (pairs / "classes.txt").write_text("background\n" + "\n".join(NAMES) + "\n")
    for split, digits in split_digits().items():
        names = [f"{split}-{number:04d}" for number in range(SCENES[split])]
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for folder in (pairs / split / "images", pairs / split / "masks"):
            folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            scene = compose(name, digits)
            picture = Image.fromarray(scene.pixels)
            picture.save(voc / "JPEGImages" / f"{name}.jpg", quality=92)
            (voc / "Annotations" / f"{name}.xml").write_bytes(_voc_xml(name, scene))
            picture.save(pairs / split / "images" / f"{name}.png")
            Image.fromarray(scene.mask).save(pairs / split / "masks" / f"{name}.png")


def compose(name: str, digits: Sequence[tuple[Ink, int, str]]) -> Scene:
    """Two to four digits of different sizes and inks, none over another, on a textured ground."""
    random = _random(name)
    pixels = _ground(random, SIDE)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    objects: list[tuple[int, _Box]] = []
    for _ in range(int(random.integers(2, 5))):
        ink, digit, _ = digits[int(random.integers(len(digits)))]
        stamp = _enlarged(ink, int(random.integers(28, 53)))
        place = _free_place(random, mask, len(stamp))
        if place is not None:
            objects.append((digit, _stamp(pixels, mask, stamp, place, digit, random)))
    return Scene(np.rint(pixels).astype(np.uint8), mask, tuple(objects))


def _enlarged(ink: Ink, side: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(ink, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1), np.float32)


def _random(name: str) -> np.random.Generator:
    """The luck of one picture."""
    return np.random.default_rng(luck.key(f"digits/{name}"))


def _ground(random: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Two colours mixed by coarse noise, under fine grain; [side,side,3]."""
    colours = random.uniform(10, 140, (2, 3))
    coarse = random.random((int(random.integers(3, 9)),) * 2).astype(np.float32)
    blend = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = random.normal(0, 6, (side, side, 1))
    return np.asarray((colours[0] * blend + colours[1] * (1 - blend) + grain).clip(0, 255), np.float32)


def _free_place(random: np.random.Generator, mask: NDArray[np.uint8], side: int) -> tuple[int, int] | None:
    """The corner (x, y) of a square without digits, if one is found in some tries."""
    for _ in range(30):
        x, y = random.integers(0, SIDE - side + 1, 2).tolist()
        if not mask[y : y + side, x : x + side].any():
            return x, y
    return None


def _stamp(
    pixels: NDArray[np.float32],
    mask: NDArray[np.uint8],
    stamp: NDArray[np.float32],
    place: tuple[int, int],
    digit: int,
    random: np.random.Generator,
) -> _Box:
    """Print one digit in an ink that stands out from the ground; returns its box."""
    x, y = place
    area = (slice(y, y + len(stamp)), slice(x, x + len(stamp)))
    _print_ink(pixels[area], stamp, random)
    seen = stamp >= _INK
    mask[area][seen] = digit + 1
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return int(x + columns[0]), int(y + rows[0]), int(x + columns[-1] + 1), int(y + rows[-1] + 1)


def _print_ink(pixels: NDArray[np.float32], stamp: Ink, random: np.random.Generator) -> None:
    """Cover `pixels` [h,w,3] by a light ink of some colour, as far as `stamp` [h,w] says."""
    pixels += stamp[..., None] * (random.uniform(170, 255, 3) - pixels)


def _voc_xml(name: str, scene: Scene) -> bytes:
    """A Pascal VOC annotation: 1-based corners, both inclusive."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", SIDE), ("height", SIDE), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    for digit, (x0, y0, x1, y1) in scene.objects:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = NAMES[digit]
        box = ElementTree.SubElement(entry, "bndbox")
        for tag, edge in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
            ElementTree.SubElement(box, tag).text = str(edge)
    return ElementTree.tostring(root)
