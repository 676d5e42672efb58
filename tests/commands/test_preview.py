"""A page of what training sees: the first row plain, the others augmented, truth drawn on all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.factories import write_coco, write_folder_per_class, write_mask_pairs
from vision_tasks.cli import main
from vision_tasks.commands.preview import draw_truth, preview_dataset
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE, Boxes, Labels, Masks

WRITERS = {"classify": write_folder_per_class, "detect": write_coco, "segment": write_mask_pairs}


@pytest.mark.parametrize("task", WRITERS)
def test_the_page_has_a_row_an_epoch_and_a_column_an_image(tmp_path, task):
    WRITERS[task](tmp_path / "data")
    options = {"task": task, "augment": "strong", "image_size": 64, "rows": 2, "columns": 3}
    first = preview_dataset(tmp_path / "data", tmp_path / "one.png", **options)
    again = preview_dataset(tmp_path / "data", tmp_path / "two.png", **options)
    other = preview_dataset(tmp_path / "data", tmp_path / "three.png", **options, seed=1)
    with Image.open(first) as page:
        pixels = np.asarray(page)
        assert page.width >= 8 + 3 * (256 + 8)
        assert page.height >= 3 * (28 + 256 + 8)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert pixels.std() > 10


def test_without_augmentation_all_rows_are_alike(tmp_path):
    write_coco(tmp_path / "data")
    path = preview_dataset(
        tmp_path / "data", tmp_path / "page.png", task="detect", augment="none", image_size=256, rows=1, columns=2
    )
    page = np.asarray(Image.open(path))
    half = len(page) // 2
    assert len(page) == 2 * half
    assert (page[28:half] == page[half + 28 :]).all()


def test_truth_is_drawn_by_its_kind():
    pixels = np.full((256, 256, 3), 90, np.uint8)
    boxes = Boxes.single(torch.tensor([[50.0, 60, 150, 200]]), torch.tensor([1]))
    drawn = draw_truth(boxes, pixels, ("a", "b"))
    assert (drawn[120, 49:53] != 90).any()
    assert (drawn[120, 100] == 90).all()
    index = torch.zeros(1, 256, 256, dtype=torch.uint8)
    index[:, :100], index[:, 200:] = 1, IGNORE
    drawn = draw_truth(Masks(index, 2), pixels, ("background", "b"))
    assert (drawn[150, 10] == 90).all()
    assert (drawn[50, 10] != 90).any()
    assert (drawn[220, 10] != 90).any()
    plain = draw_truth(Labels(torch.tensor([[1.0, 0]])), pixels, ("a", "b"))
    mixed = draw_truth(Labels(torch.tensor([[0.7, 0.3]])), pixels, ("a", "b"))
    assert (plain[:256] == 90).all()
    assert (plain.shape != mixed.shape) or (plain != mixed).any()


def test_only_pngs_and_known_words(tmp_path: Path, monkeypatch, capsys):
    write_folder_per_class(tmp_path / "data")
    with pytest.raises(UserError, match=r"a name that ends in \.png"):
        preview_dataset(tmp_path / "data", tmp_path / "page.jpg")
    monkeypatch.setattr("sys.argv", ["vision-tasks", "data", "preview", str(tmp_path / "data"), "--out",
                                     str(tmp_path / "page.png"), "--augment", "stronk"])  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "did you mean strong" in capsys.readouterr().err
