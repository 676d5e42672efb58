"""Which files are images, and what splits are called."""

from pathlib import Path

import pytest

from vision_tasks.data.folders import files_below, images_by_stem, is_image, split_folders, split_name, subfolders
from vision_tasks.errors import UserError


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.b.png", "a.tiff", "a.avif", "a.jp2"])
def test_images_are_known_by_their_extension(name: str) -> None:
    assert is_image(name)


@pytest.mark.parametrize("name", ["a.txt", "jpg", "a", ".jpg", "._a.jpg", "a.jpg.part", "a.svg"])
def test_other_files_are_no_images(name: str) -> None:
    assert not is_image(name)


def test_valid_and_validation_are_val() -> None:
    names = ("train", "Valid", "validation", "val", "test", "cats")
    assert [split_name(name) for name in names] == ["train", "val", "val", "val", "test", None]


def test_the_same_split_twice_is_an_error(tmp_path: Path) -> None:
    for name in ("val", "valid"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="val and valid are the same split"):
        split_folders(subfolders(tmp_path))


def test_the_same_name_twice_is_an_error(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png", "x.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"x\.jpg and x\.png"):
        images_by_stem(tmp_path)


def test_hidden_files_and_links_that_lead_back_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    for name in ("a.jpg", ".DS_Store", "deep/b.jpg", "deep/deeper/c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert list(files_below(tmp_path)) == ["a.jpg", "deep/b.jpg", "deep/deeper/c.jpg"]
