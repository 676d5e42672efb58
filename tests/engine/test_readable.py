"""A training of which no image can be read ends before anything of its run is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vision_tasks as vt
from tests import factories
from vision_tasks.engine.readable import require_readable
from vision_tasks.types import Boxes, InputSpec, Sample, Size

SPEC = InputSpec((32, 32), "letterbox")


def everything(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def bare_file_without_images(root: Path) -> Path:
    factories.write_coco(root, splits=("train",))
    for image in (root / "train").glob("*.jpg"):
        image.unlink()
    return root / "train" / "_annotations.coco.json"


def broken_training_images(root: Path) -> Path:
    factories.write_voc(root)
    for image in (root / "JPEGImages").glob("train_*.jpg"):
        image.write_bytes(image.read_bytes()[:40])
    return root


def images_of_another_size_in_val(root: Path) -> Path:
    """Whose boxes then mean nothing."""
    factories.write_voc(root)
    for image in (root / "JPEGImages").glob("val_*.jpg"):
        factories.save(image, factories.texture((30, 30), np.random.default_rng(0)))
    return root


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (bare_file_without_images, r"none of 5 images could be read; the first: .*\.jpg: No such file"),
        (broken_training_images, r"none of 6 images could be read; the first: .*train_000\.jpg: "),
        (images_of_another_size_in_val, r"none of 6 images could be read; the first: .*val_000.*is for 80x60"),
    ],
)
def test_nothing_readable_writes_nothing(tmp_path: Path, spoil: Callable[[Path], Path], said: str) -> None:
    data = spoil(tmp_path / "data")
    before = everything(tmp_path)
    with pytest.raises(vt.UserError, match=said):
        vt.train("detect", data=data, image_size=32, epochs=1, device="cpu", out=tmp_path / "run")
    assert everything(tmp_path) == before


def test_no_more_is_read_than_until_the_first_that_can_be(tmp_path: Path) -> None:
    factories.write_voc(tmp_path, splits=("train",))
    asked = []

    def sample(number: int) -> Sample[Boxes]:
        def truth(size: Size | None) -> Boxes:
            asked.append(number)
            return Boxes.single(torch.zeros(0, 4), torch.zeros(0))

        name = "gone.jpg" if number < 2 else "JPEGImages/train_000.jpg"
        return Sample(f"{number}", tmp_path / name, truth)

    require_readable([sample(number) for number in range(1000)], SPEC)
    assert min(asked) == 2
    assert max(asked) < 10, "a few batches ahead are read"
