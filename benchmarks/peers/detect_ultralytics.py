"""Ultralytics' own trainer at its own defaults, from random weights, on Pascal VOC data rewritten for it.

Only its training epochs are timed, through its callbacks; validation and set-up are not. Its default run of 100 epochs
uses mosaic in the first 90 and stops it for the last 10, so a short run would never use it: `--close-mosaic 0` keeps
the mosaic of the long run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.peers.common import options, write

CLASSES = ("RBC", "WBC", "Platelets")


def label_lines(annotation: Path) -> str:
    """YOLO lines (class, centre x, centre y, width, height as shares) of one VOC file (1-based inclusive corners)."""
    root = ElementTree.parse(annotation).getroot()
    width, height = (float(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    lines = []
    for item in root.iter("object"):
        x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{edge}", "0")) for edge in ("xmin", "ymin", "xmax", "ymax"))
        x0, y0 = x0 - 1, y0 - 1
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(" ".join([str(CLASSES.index(item.findtext("name", ""))), *(f"{share:.6f}" for share in shares)]))
    return "\n".join(lines)


def convert(voc: Path, out: Path, most: int) -> Path:
    """Copy train and val into images/ + labels/ and return the data file; the trainer may rewrite only the copies."""
    for split in ("train", "val"):
        names = (voc / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True)
        for name in names[: most or None]:
            shutil.copy(voc / "JPEGImages" / f"{name}.jpg", out / "images" / split)
            (out / "labels" / split / f"{name}.txt").write_text(label_lines(voc / "Annotations" / f"{name}.xml"))
    names = ", ".join(CLASSES)
    (out / "data.yaml").write_text(f"path: {out}\ntrain: images/train\nval: images/val\nnames: [{names}]\n")
    return out / "data.yaml"


def stay_offline(settings: Path) -> None:
    """Keep ultralytics from the network and the home folder: own settings folder, a font that is already there."""
    os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=str(settings))
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    folder = settings / "Ultralytics"
    for place in (settings, folder):
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(font, place / "Arial.ttf")


def train(arguments: argparse.Namespace, work: Path) -> list[float]:
    """Images/s of each training epoch."""
    data = convert(arguments.data, work / "data", arguments.max_batches * arguments.batch_size)
    from ultralytics import YOLO

    started, measured = [0.0], []

    def begin(trainer: object) -> None:
        started[0] = time.perf_counter()

    def end(trainer: object) -> None:
        measured.append(len(trainer.train_loader.dataset) / (time.perf_counter() - started[0]))  # type: ignore[attr-defined]
        print(f"epoch {len(measured) - 1}: {measured[-1]:.1f} images/s", flush=True)

    model = YOLO(f"{arguments.model}.yaml")
    model.add_callback("on_train_epoch_start", begin)
    model.add_callback("on_train_epoch_end", end)
    model.train(
        data=str(data),
        imgsz=arguments.image_size,
        batch=arguments.batch_size,
        epochs=arguments.epochs,
        close_mosaic=arguments.close_mosaic,
        device="cpu",
        pretrained=False,
        val=False,
        plots=False,
        save=False,
        project=str(work / "runs"),
    )
    return measured


def main() -> None:
    """Train and record images/s of each epoch."""
    parser = options((__doc__ or "").splitlines()[0], image_size=320, batch_size=16)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--close-mosaic", type=int, default=0, help="last epochs without mosaic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stay_offline(work / "settings")
        write(arguments.json, train(arguments, work))


if __name__ == "__main__":
    main()
