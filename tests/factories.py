"""Writes tiny real data sets, whose contents are known exactly: coloured shapes on textured grey.

A class has its own colour and kind of shape (disc, rectangle, triangle), so small networks can learn it in seconds.
The same arguments give the same files. `splits=()` writes data without splits, which is returned under "all".
"""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


COCO_LAYOUTS = {  # where the JSON and the images of a split lie
    "split folders": ("{split}/_annotations.coco.json", "{split}"),
    "coco 2017": ("annotations/instances_{split}2017.json", "{split}2017"),
    "images": ("annotations/instances_{split}.json", "images/{split}"),
    "one folder": ("{split}.json", "images"),
}
YOLO_LAYOUTS = {
    "splits inside": "images/{split}",
    "splits outside": "{split}/images",
}  # where the images of a split lie


def scene(number: int, i: int, classes: Sequence[str], size: tuple[int, int]) -> tuple[Image, list[Object]]:
    """The picture `i` of the split `number`, with 2, 0, 1 objects in turn."""
    luck = np.random.default_rng([number, i])
    image, objects = texture(size, luck), []
    for half in range((i + 2) % 3):
        label = int(luck.integers(len(classes)))
        mask = shape(size, (half * size[1] // 2, 0, (half + 1) * size[1] // 2, size[0]), label, luck)
        paint(image, mask, label)
        objects.append((classes[label], extent(mask)))
    return image, objects


def write_coco(
    root: Path,
    classes: Mapping[int, str] = {1: "a", 2: "b"},
    images: int = 6,
    size: tuple[int, int] = (60, 80),
    splits: Sequence[str] = ("train", "val", "test"),
    layout: str = "split folders",
) -> dict[str, dict[str, list[Object]]]:
    """`images` pictures a split as `scene` makes them; image ids go down from 100, annotation ids count from 0.

    Returns {split: {sample id: objects}}; `splits=()` writes annotations.json and images/.
    """
    written: dict[str, dict[str, list[Object]]] = {}
    number_of = {name: number for number, name in classes.items()}
    for number, split in enumerate(splits or ("all",)):
        annotations, folder = COCO_LAYOUTS[layout] if splits else ("annotations.json", "images")
        written[split], listed, boxes = {}, [], []
        for i in range(images):
            image, objects = scene(number, i, list(classes.values()), size)
            sample_id = f"{folder.format(split=split)}/{split}_{i:03}.jpg"
            save(root / sample_id, image)
            written[split][sample_id] = objects
            listed.append(coco_image(100 - i, f"{split}_{i:03}.jpg", size))
            for name, (x0, y0, x1, y1) in objects:
                boxes.append(coco_box(len(boxes), 100 - i, number_of[name], (x0, y0, x1 - x0, y1 - y0)))
        write_coco_file(root / annotations.format(split=split), classes, listed, boxes)
    return written


def coco_image(number: int, name: str, size: tuple[int, int]) -> dict[str, object]:
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}


def coco_box(number: int, image: int, category: int, xywh: Sequence[float], **more: object) -> dict[str, object]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": [*xywh], "iscrowd": 0, **more}


def write_coco_file(
    path: Path,
    classes: Mapping[int, str],
    images: Sequence[Mapping[str, object]],
    boxes: Sequence[Mapping[str, object]],
) -> None:
    """A JSON of COCO's form; every category is in the group "things"."""
    categories = [{"id": number, "name": name, "supercategory": "things"} for number, name in classes.items()]
    content = {"images": [*images], "annotations": [*boxes], "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_yolo(
    root: Path,
    classes: Sequence[str] = ("a", "b"),
    images: int = 6,
    size: tuple[int, int] = (60, 80),
    splits: Sequence[str] = ("train", "val", "test"),
    layout: str = "splits inside",
    described: bool = True,
) -> dict[str, dict[str, list[Object]]]:
    """`images` pictures a split as `scene` makes them, with data.yaml or, if not `described`, classes.txt.

    Returns {split: {sample id: objects}}; `splits=()` writes images/ and labels/ alone.
    """
    written: dict[str, dict[str, list[Object]]] = {}
    folders = {split: YOLO_LAYOUTS[layout].format(split=split) for split in splits} or {"all": "images"}
    for number, (split, folder) in enumerate(folders.items()):
        written[split] = {}
        for i in range(images):
            image, objects = scene(number, i, classes, size)
            sample_id = f"{folder}/{split}_{i:03}.jpg"
            save(root / sample_id, image)
            write_labels(root / folder.replace("images", "labels") / f"{split}_{i:03}.txt", size, classes, objects)
            written[split][sample_id] = objects
    if described:
        entries = [f"{'train' if split == 'all' else split}: {folder}" for split, folder in folders.items()]
        (root / "data.yaml").write_text("\n".join([*entries, f"names: [{', '.join(classes)}]", ""]))
    else:
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return written


def write_labels(path: Path, size: tuple[int, int], classes: Sequence[str], objects: Sequence[Object]) -> None:
    """A label file of boxes given in pixel edges."""
    height, width = size
    rows = "".join(
        f"{classes.index(name)} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
        f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
        for name, (x0, y0, x1, y1) in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rows)


def write_colour_masks(
    root: Path,
    colours: Mapping[str, tuple[int, int, int]] = {"background": (0, 0, 0), "a": (128, 0, 64), "b": (64, 0, 128)},
    class_list: str = "classes.csv",
    **arguments: Any,
) -> dict[str, dict[str, Image]]:
    """What `write_mask_pairs` writes and returns, with masks as colours and a list of name,r,g,b."""
    written = write_mask_pairs(root, tuple(colours), class_list=False, **arguments)
    for samples in written.values():
        for sample_id, index in samples.items():
            path = root / sample_id.replace("images", "masks")
            save(path.with_suffix(".png"), in_colours(index, colours))
    (root / class_list).write_text(colour_list(class_list, colours))
    return written


def in_colours(index: Image, colours: Mapping[str, tuple[int, int, int]]) -> Image:
    """Class indices [H,W] as RGB [H,W,3]."""
    return np.array(list(colours.values()), np.uint8)[index]


def colour_list(name: str, colours: Mapping[str, tuple[int, int, int]]) -> str:
    """The text of a class list with colours, in the form that a file of this name has."""
    if name.endswith(".csv"):
        return "name,r,g,b\n" + "".join(f"{each},{r},{g},{b}\n" for each, (r, g, b) in colours.items())
    return "".join(f"{r} {g} {b}\t\t{each}\n" for each, (r, g, b) in colours.items())
