"""What `--source` names."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_tasks.data.unreadable import DecodeError
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


def test_the_walk_is_lazy_and_can_be_repeated(tmp_path):
    make(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg")
    (tmp_path / "notes.txt").write_text("words")
    walk = find_images([tmp_path])
    assert next(iter(walk)).name == "a.jpg"
    for _ in range(2):
        assert listed(walk)[0] == ["a.jpg", "b.jpg", "sub/c.jpg"]
        assert walk.skipped == 1


def test_links_that_lead_round_in_circles_are_survived(tmp_path):
    make(tmp_path, "sub/a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert names(tmp_path) == ["self.jpg", "sub/a.jpg"]
    (item,) = (each for each in find_images([tmp_path]) if each.name == "self.jpg")
    with pytest.raises(DecodeError, match="symbolic links"):
        item.read()


def test_names_of_any_bytes(tmp_path):
    (tmp_path / os.fsdecode(b"\xff\n.jpg")).write_bytes(b"\xff\xd8\xff")
    (item,) = find_images([tmp_path])
    assert os.fsencode(item.name) == b"\xff\n.jpg"
    assert item.read() == b"\xff\xd8\xff"


def test_globs_are_named_from_before_their_first_wildcard(tmp_path):
    make(tmp_path, "photos/x/a.jpg", "photos/y/a.jpg", "photos/y/b.png")
    assert names(tmp_path / "photos" / "*" / "a.*") == ["x/a.jpg", "y/a.jpg"]
    assert names(f"{tmp_path}/photos/**/*.jpg") == ["x/a.jpg", "y/a.jpg"]
    with pytest.raises(UserError, match=r"source .*\*.gif does not exist"):
        names(tmp_path / "*.gif")


def test_two_images_of_one_name_in_two_sources(tmp_path):
    make(tmp_path, "x/a.jpg", "y/a.jpg")
    assert names(tmp_path / "x", tmp_path / "y") == ["x/a.jpg", "y/a.jpg"]


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


JPEG = b"\xff\xd8\xff"
MEMBERS = {"a.jpg": JPEG + b"a", "in/b.png": b"b", "in/nameless": JPEG + b"c", "notes.txt": b"words", "./d.jpg": b"d"}
CONTENT = {"a.jpg": JPEG + b"a", "in/b.png": b"b", "in/nameless": JPEG + b"c", "d.jpg": b"d"}
ARCHIVES = {
    "zip": lambda path: write_zip(path / "it.zip", MEMBERS, compression=zipfile.ZIP_DEFLATED),
    "tar": lambda path: write_tar(path / "it.tar", MEMBERS),
    "tar.gz": lambda path: write_tar(path / "it.tar.gz", MEMBERS, "w:gz"),
    "tar.xz": lambda path: write_tar(path / "it.txz", MEMBERS, "w:xz"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_read_in_place(kind, tmp_path):
    archive = ARCHIVES[kind](tmp_path)
    walk = find_images([archive])
    items = [each.fetched() for each in walk]
    # Read after the walk has ended, in any order, as threads do.
    assert {each.name: each.read() for each in reversed(items)} == {
        f"{archive.name}/{name}": data for name, data in CONTENT.items()
    }
    assert walk.skipped == 1
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
    make(tmp_path, "photo.jpg")
    assert names(tmp_path) == ["photo.jpg"], "an archive in a folder is another file"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["../a.jpg", "in/../../a.jpg", "/etc/a.jpg", "c:\\a.jpg", "in\\..\\..\\a.jpg"])
def test_members_that_lead_out_of_an_archive_are_failures(kind, name, tmp_path):
    members = {name: JPEG, "good.jpg": JPEG}
    archive = tmp_path / f"it.{kind}"
    write_zip(archive, members) if kind == "zip" else write_tar(archive, members, "w:gz" if "gz" in kind else "w")
    found, failed = listed(find_images([archive]))
    assert found == [f"it.{kind}/good.jpg"]
    assert [reason for _, reason in failed] == ["its name leads out of the archive; refused"]


def test_links_in_archives_are_failures(tmp_path):
    with tarfile.open(tmp_path / "it.tar", "w") as archive:
        info = tarfile.TarInfo("link.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    for name in ("it.tar", "it.zip"):
        assert listed(find_images([tmp_path / name])) == ([], [(f"{name}/link.jpg", "a link or a device; refused")])


def test_bombs_are_failures_and_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_tasks.engine.sources.archive._USUAL", 1000)
    members = {"bomb.jpg": bytes(10**6), "good.jpg": JPEG}
    for archive in (
        write_zip(tmp_path / "it.zip", members, compression=zipfile.ZIP_DEFLATED),
        write_tar(tmp_path / "it.tar.gz", members, "w:gz"),
    ):
        found, failed = listed(find_images([archive]))
        assert failed[0][0] == f"{archive.name}/bomb.jpg"
        assert "unpacks to 1000000 bytes from" in failed[0][1]
        # What follows in a compressed tar could only be had by unpacking the bomb.
        assert (found, len(failed)) == ((["it.zip/good.jpg"], 1) if archive.suffix == ".zip" else ([], 2))
    monkeypatch.setattr("vision_tasks.engine.sources.archive.most_bytes", lambda: 999_999)
    assert "raise VISION_TASKS_MAX_BYTES" in listed(find_images([tmp_path / "it.zip"]))[1][0][1]


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_are_cut_short(kind, tmp_path):
    archive = ARCHIVES[kind](tmp_path)
    archive.write_bytes(archive.read_bytes()[: 700 if kind == "tar" else 60])
    _, failed = listed(find_images([archive]))
    assert [(name, reason.partition(" (")[0]) for name, reason in failed][-1:] == [
        (archive.name, "damaged, or not an archive")
    ]


def test_a_damaged_member_is_one_failure(tmp_path):
    archive = write_zip(tmp_path / "it.zip", {"a.jpg": b"0123456789", "b.jpg": JPEG})
    archive.write_bytes(archive.read_bytes().replace(b"0123456789", b"0123x56789", 1))
    first, second = (each.fetched() for each in find_images([archive]))
    with pytest.raises(DecodeError, match="can't be read from its archive: Bad CRC-32"):
        first.read()
    assert second.read() == JPEG


def write_video(path, frames):
    """Frames of one grey level each, 20 apart."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(frames):
        video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    video.release()
    return path


def test_videos_are_their_frames(tmp_path):
    write_video(tmp_path / "clip.avi", 5)
    items = [each.fetched() for each in find_images([tmp_path / "clip.avi"])]
    assert [each.name for each in items] == [f"clip.avi/frame_{number:06}" for number in range(5)]
    for number, each in enumerate(items):
        pixels = each.pixels()
        assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
        assert np.abs(pixels.astype(int) - 20 * number).max() < 4
    assert len({each.sha256() for each in items}) == 5
    unfetched = list(find_images([tmp_path / "clip.avi"]))
    assert [each.name for each in unfetched] == [each.name for each in items]


def test_a_video_without_frames_is_a_failure(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    ((name, reason),) = listed(find_images([tmp_path / "clip.mp4"]))[1]
    assert (name, reason.partition(":")[0]) == ("clip.mp4", "no frame can be read")


def test_a_list_names_files_beside_it_and_elsewhere(tmp_path, monkeypatch):
    make(tmp_path, "lists/a.jpg", "lists/sub/b.jpg", "here/c.jpg", "lists/odd \udcff.jpg")
    monkeypatch.chdir(tmp_path / "here")
    listing = tmp_path / "lists" / "list.txt"
    listing.write_bytes(f"a.jpg\r\n\nsub\nc.jpg\n{tmp_path}/here/c.jpg\ngone.jpg\nodd ".encode() + b"\xff.jpg")
    found, failed = listed(find_images([listing]))
    elsewhere = f"{tmp_path}/here/c.jpg".removeprefix("/")
    assert found == ["a.jpg", "sub/b.jpg", elsewhere, elsewhere, "odd \udcff.jpg"]
    assert [reason for _, reason in failed] == ["does not exist"]


def test_paths_from_standard_input(tmp_path, monkeypatch):
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    monkeypatch.chdir(tmp_path)
    for separator in (b"\n", b"\0"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(separator.join([b"c.jpg", b"a.jpg"]))))
        assert names("-") == ["c.jpg", "a.jpg"]


def test_no_images_is_an_error_that_says_what_was_there(tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(UserError, match=r"^no images found in .* \(1 other files\)$"):
        find_images([tmp_path])
    write_zip(tmp_path / "empty.zip", {})
    with pytest.raises(UserError, match=r"no images found in .*empty.zip \(0 other files\)"):
        find_images([tmp_path / "empty.zip"])


def test_an_output_beside_the_sources_is_not_spoken_of(tmp_path):
    make(tmp_path, "out/drawings/a.jpg")
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"no images found in .*photos \(0 other files\)$"):
        find_images([tmp_path / "photos"], tmp_path / "out")
    with pytest.raises(UserError, match=r"\(0 other files, and .*out, which is written to, is left out\)$"):
        find_images([tmp_path], tmp_path / "out")
