"""A folder that receives files: each is taken once it is complete, and Ctrl-C ends it with all tables written."""

import os

import pytest

import vision_tasks as vt
from tests.engine.test_going_on import call, lines, picture, weights  # noqa: F401  # a fixture
from vision_tasks.engine import watch
from vision_tasks.engine.sources import Item, Walk
from vision_tasks.engine.watch import Rested


def looks(*stages):
    """Stands for sleeping: each time the next stage is carried out, after the last the user stops it."""
    left = iter(stages)

    def sleep(seconds):
        stage = next(left, None)
        if stage is None:
            raise KeyboardInterrupt
        stage()

    return sleep


def test_files_are_taken_when_they_rest(weights, tmp_path, monkeypatch):  # noqa: F811
    photos, out = tmp_path / "photos", tmp_path / "o"
    photos.mkdir()
    source = tmp_path / "a.png"
    picture(source, 1)
    whole = source.read_bytes()
    seen = []

    def half():
        (photos / "a.png").write_bytes(whole[:50])

    def more():
        (photos / "a.png").write_bytes(whole)

    def nothing():
        seen.append(
            [row["image"] for row in lines(out / "predictions.jsonl")]
            if out.joinpath("predictions.jsonl").exists()
            else []
        )

    monkeypatch.setattr(
        watch.time, "sleep", looks(half, more, nothing, nothing, lambda: picture(photos / "b.png", 2), nothing, nothing)
    )
    summary = call("classify", weights, photos, out, watch=True)
    assert (summary.predicted, summary.failed) == (2, 0), "half a file was never read"
    assert seen[:3] == [[], ["a.png"], ["a.png"]]
    assert [row["image"] for row in lines(out / "predictions.jsonl")] == ["a.png", "b.png"]


def test_what_is_taken_away_afterwards_stays_in_the_tables(weights, tmp_path, monkeypatch):  # noqa: F811
    photos = tmp_path / "photos"
    picture(photos / "a.png", 1)
    os.utime(photos / "a.png", (1e9, 1e9))
    monkeypatch.setattr(watch.time, "sleep", looks((photos / "a.png").unlink, lambda: None))
    assert call("classify", weights, photos, tmp_path / "o", watch=True).predicted == 1
    assert [row["image"] for row in lines(tmp_path / "o" / "predictions.jsonl")] == ["a.png"]


def test_a_file_that_changes_is_predicted_again(weights, tmp_path, monkeypatch):  # noqa: F811
    photos = tmp_path / "photos"
    picture(photos / "a.png", 1)
    os.utime(photos / "a.png", (1e9, 1e9))
    monkeypatch.setattr(
        watch.time, "sleep", looks(lambda: picture(photos / "a.png", 2, (50, 60)), lambda: None, lambda: None)
    )
    assert call("classify", weights, photos, tmp_path / "o", watch=True).predicted == 1
    assert [row["width"] for row in lines(tmp_path / "o" / "predictions.jsonl")] == [60]


def test_files_that_others_are_still_writing_are_left(tmp_path):
    for name in (".a.jpg.x8Kq", "a.jpg.part", "a.jpg", "b.jpg.crdownload"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
        os.utime(tmp_path / name, (1e9, 1e9))
    assert [each.name for each in Rested(Walk([tmp_path])) if isinstance(each, Item)] == ["a.jpg"]


def test_standard_input_cannot_be_watched(weights, tmp_path):  # noqa: F811
    with pytest.raises(vt.UserError, match="--watch looks again and again, and standard input can be read once"):
        call("classify", weights, "-", tmp_path / "o", watch=True)
