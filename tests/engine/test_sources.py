"""What `--source` names."""

import os
from pathlib import Path

import pytest

from vision_tasks.engine.sources import Item, find_images
from vision_tasks.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")
    return root


def listed(walk):
    """(names, failures with their reasons)"""
    found = list(walk)
    items = [each.name for each in found if isinstance(each, Item)]
    return items, [(each.id, each.reason) for each in found if not isinstance(each, Item)]


def names(*sources, without=None):
    return listed(find_images(sources, without))[0]


def test_pipes_are_skipped_and_dangling_links_are_tried(tmp_path):
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    found = find_images([tmp_path])
    assert listed(found) == (["a.jpg", "link.jpg"], [])
    assert found.skipped == 1


def test_no_name_leads_out_of_the_output(tmp_path, monkeypatch):
    make(tmp_path, "here/photos/a.jpg", "there/a.jpg")
    monkeypatch.chdir(tmp_path / "here")
    assert names("photos", "../there") == ["here/photos/a.jpg", "there/a.jpg"]


def test_one_file_by_two_names_is_one_image(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert names("a.jpg", tmp_path / "a.jpg", "./a.jpg") == ["a.jpg"]


def test_the_output_is_left_out_however_it_is_written(tmp_path, monkeypatch):
    make(tmp_path, "photos/a.jpg", "photos/out/drawings/a.jpg.png")
    monkeypatch.chdir(tmp_path / "photos")
    assert names(tmp_path / "photos", without=Path("../photos/out")) == ["a.jpg"]


def test_a_folder_that_cannot_be_listed_is_a_failure(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", "closed/b.jpg")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listed(find_images([tmp_path])) == (["a.jpg"], [(str(tmp_path / "closed"), "Permission denied")])
    with pytest.raises(UserError, match="closed: Permission denied"):
        find_images([tmp_path / "closed"])
