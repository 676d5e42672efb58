"""Writes tiny real data sets, whose contents are known exactly: coloured shapes on textured grey.

A class has its own colour and kind of shape (disc, rectangle, triangle), so small networks can learn it in seconds.
The same arguments give the same files. `splits=()` writes data without splits, which is returned under "all".
"""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # RGB [H,W,3]
Mask = NDArray[np.bool_]  # [H,W]
Object = tuple[str, tuple[float, float, float, float]]  # class, xyxy in pixel edges


def write_folder_per_class(
    root: Path,
    classes: Sequence[str] = ("a", "b"),
    per_class: int = 6,
    size: tuple[int, int] = (40, 48),
    splits: Sequence[str] = ("train", "val", "test"),
) -> dict[str, dict[str, str]]:
    """`<split>/<class>/<n>.jpg` with one shape each. Returns {split: {sample id: class}}."""
    written: dict[str, dict[str, str]] = {}
    for number, split in enumerate(splits or ("all",)):
        written[split] = {}
        for label, name in enumerate(classes):
            for i in range(per_class):
                luck = np.random.default_rng([number, label, i])
                image = texture(size, luck)
                paint(image, shape(size, (0, 0, size[1], size[0]), label, luck), label)
                sample_id = f"{split}/{name}/{i:03}.jpg" if splits else f"{name}/{i:03}.jpg"
                save(root / sample_id, image)
                written[split][sample_id] = name
    return written


def write_voc(
    root: Path,
    classes: Sequence[str] = ("a", "b"),
    images: int = 6,
    size: tuple[int, int] = (60, 80),
    splits: Sequence[str] = ("train", "val", "test"),
) -> dict[str, dict[str, list[Object]]]:
    """`images` pictures a split with 0, 1 or 2 objects in turn; with train and val also the list trainval.

    Returns {split: {sample id: objects in the order of the file}}.
    """
    written: dict[str, dict[str, list[Object]]] = {}
    names: dict[str, list[str]] = {}
    for number, split in enumerate(splits or ("all",)):
        written[split], names[split] = {}, []
        for i in range(images):
            luck = np.random.default_rng([number, i])
            image, objects = texture(size, luck), []
            for half in range((i + 2) % 3):  # the first two objects of the file don't overlap
                label = int(luck.integers(len(classes)))
                area = (half * size[1] // 2, 0, (half + 1) * size[1] // 2, size[0])
                mask = shape(size, area, label, luck)
                paint(image, mask, label)
                objects.append((classes[label], extent(mask)))
            name = f"{split}_{i:03}"
            save(root / "JPEGImages" / f"{name}.jpg", image)
            write_annotation(root / "Annotations" / f"{name}.xml", size, objects)
            written[split][f"JPEGImages/{name}.jpg"] = objects
            names[split].append(name)
    if {"train", "val"} <= set(splits):
        names["trainval"] = names["train"] + names["val"]
    for split, listed in names.items() if splits else ():
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in listed))
    return written


def write_mask_pairs(
    root: Path,
    classes: Sequence[str] = ("background", "a", "b"),
    images: int = 4,
    size: tuple[int, int] = (48, 64),
    splits: Sequence[str] = ("train", "val", "test"),
    class_list: bool = True,
) -> dict[str, dict[str, Image]]:
    """`images` pictures a split with a shape of every class but the first, which is the ground.

    Returns {split: {sample id: class indices uint8 [H,W]}}.
    """
    written: dict[str, dict[str, Image]] = {}
    for number, split in enumerate(splits or ("all",)):
        written[split] = {}
        for i in range(images):
            luck = np.random.default_rng([number, i])
            image, index = texture(size, luck), np.zeros(size, dtype=np.uint8)
            for label in range(1, len(classes)):
                mask = shape(size, (0, 0, size[1], size[0]), label, luck)
                paint(image, mask, label)
                index[mask] = label
            folder = root / split if splits else root
            save(folder / "images" / f"{i:03}.jpg", image)
            save(folder / "masks" / f"{i:03}.png", index)
            written[split][(folder / "images" / f"{i:03}.jpg").relative_to(root).as_posix()] = index
    if class_list:
        (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes)))
    return written


def write_annotation(path: Path, size: tuple[int, int], objects: Sequence[Object]) -> None:
    """A VOC annotation of boxes given in pixel edges."""
    items = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1:g}</xmin><ymin>{y0 + 1:g}</ymin>"
        f"<xmax>{x1:g}</xmax><ymax>{y1:g}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{path.stem}.jpg</filename><size><width>{size[1]}</width><height>{size[0]}</height>"
        f"<depth>3</depth></size>{items}</annotation>"
    )


def texture(size: tuple[int, int], luck: np.random.Generator) -> Image:
    """Grey waves with a little noise."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = 110 + 30 * np.sin(x / luck.uniform(3, 9)) * np.cos(y / luck.uniform(3, 9))
    return np.clip(waves[..., None] + luck.normal(0, 6, (*size, 3)), 0, 255).astype(np.uint8)


def shape(size: tuple[int, int], area: tuple[int, int, int, int], label: int, luck: np.random.Generator) -> Mask:
    """A disc, rectangle or triangle, by `label`, that fills a third to two thirds of `area` (xyxy) each way."""
    width, height = area[2] - area[0], area[3] - area[1]
    w, h = luck.uniform(0.35, 0.65, 2) * (width, height)
    left, top = area[0] + luck.uniform(0, width - w), area[1] + luck.uniform(0, height - h)
    y, x = np.mgrid[: size[0], : size[1]]
    u, v = (x + 0.5 - left) / w, (y + 0.5 - top) / h  # in [0, 1] inside the shape's box
    kinds = (
        (u - 0.5) ** 2 + (v - 0.5) ** 2 <= 0.25,
        (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1),
        (v >= 0) & (v <= 1) & (np.abs(u - 0.5) <= v / 2),
    )
    return kinds[label % 3]


def paint(image: Image, mask: Mask, label: int) -> None:
    """Colour the pixels of `mask` by `label`."""
    hue = np.uint8([[[label * 67 % 180, 230, 230]]])
    image[mask] = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]


def extent(mask: Mask) -> tuple[float, float, float, float]:
    """xyxy in pixel edges around the set pixels."""
    y, x = np.nonzero(mask)
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


def save(path: Path, image: Image) -> None:
    """RGB or one channel, in the format of the extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_table(path: Path, labels: Mapping[str, str], images: bool = True) -> None:
    """A CSV of the columns path and label, and the images that it lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label"), *labels.items()])
    for number, name in enumerate(labels if images else ()):
        save(path.parent / name, texture((8, 8), np.random.default_rng(number)))


def write_idx(path: Path, values: Image) -> None:
    """Bytes of any dimensions in MNIST's format; packed if the name ends in .gz."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(side.to_bytes(4, "big") for side in values.shape)
    data = header + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(root: Path, counts: Mapping[str, int], end: str = ".gz", size: tuple[int, int] = (28, 28)) -> None:
    """Files as MNIST has them: `counts` images of noise for `train` and `t10k`, labelled 0 to 9 in turn."""
    for number, (split, count) in enumerate(counts.items()):
        images = np.random.default_rng(number).integers(0, 256, (count, *size), dtype=np.uint8)
        write_idx(root / f"{split}-images-idx3-ubyte{end}", images)
        write_idx(root / f"{split}-labels-idx1-ubyte{end}", (np.arange(count) % 10).astype(np.uint8))
