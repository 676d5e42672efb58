"""Members of tars as the standard library finds them, in all formats that it writes; tars cut and damaged anywhere."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from vision_tasks.data.shards.tar_headers import list_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def listed(data: bytes):
    return list_members(lambda start, length: data[start : start + length], len(data))


def written(format: int, contents: dict[str, bytes], **extra: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for name, content in contents.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            for key, value in extra.items():
                setattr(header, key, value)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def by_library(data: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return [(member.name, member.offset_data, member.size) for member in tar if member.isreg()]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_members_are_where_the_standard_library_finds_them(format):
    luck = np.random.default_rng(0)
    names = [f"{'d/' * int(depth)}{number:04}.jpg" for number, depth in enumerate(luck.integers(0, 40, 60))]
    data = written(format, {name: luck.bytes(int(luck.integers(0, 2000))) for name in names})
    assert listed(data).problem == ""
    assert list(map(tuple, listed(data).members)) == by_library(data)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_names_may_be_long_and_in_any_script(format):
    names = ["é" * 150 + ".jpg", "Schloß/" + "x" * 300 + ".png", "狗/1.jpg", "a b.cls"]
    data = written(format, {name: name.encode() for name in names})
    assert [member.name for member in listed(data).members] == names
    assert list(map(tuple, listed(data).members)) == by_library(data)


def test_pax_records_of_other_kinds_and_for_all_files_change_nothing():
    data = written(tarfile.PAX_FORMAT, {"a.jpg": b"1", "b.jpg": b"22"}, mtime=1.25, uname="wer?" * 20)
    assert list(map(tuple, listed(data).members)) == by_library(data)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    assert list(map(tuple, listed(stream.getvalue()).members)) == by_library(stream.getvalue())


def test_folders_and_links_are_no_members(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.jpg").write_bytes(b"abc")
    (tmp_path / "d" / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "d" / "same.jpg").hardlink_to(tmp_path / "d" / "a.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "d", "d")
    members, problem = listed((tmp_path / "x.tar").read_bytes())
    assert problem == ""
    assert len(members) == 1
    assert members[0].size == 3


def test_a_size_beyond_octal_digits_is_read():
    header = tarfile.TarInfo("large.bin")
    header.size = 9 * 2**30  # eleven octal digits end at 8 GiB
    block = header.tobuf(tarfile.GNU_FORMAT)
    members, problem = list_members(lambda start, length: (block + bytes(1024))[start % 1024 :][:length], 10 * 2**30)
    assert members[0] == ("large.bin", 512, 9 * 2**30)
    assert problem == ""


def test_a_tar_that_is_cut_keeps_what_is_whole():
    """Whatever the byte: members that end before it are there, and no other."""
    contents = {f"{number}.jpg": bytes([number]) * (number * 300) for number in range(1, 8)}
    data = written(tarfile.USTAR_FORMAT, contents)
    every = by_library(data)
    end = max(start + -(-size // 512) * 512 for _, start, size in every) + 512  # of the first block of zeros
    for cut in range(0, end, 37):
        members, problem = listed(data[:cut])
        whole = [member for member in every if member[1] + member[2] <= cut]
        assert list(map(tuple, members)) == whole
        assert "cut short" in problem or (cut == 0 and problem == "is empty")
    assert listed(data[:end]).problem == ""


def test_damage_ends_the_list_and_is_named():
    data = bytearray(written(tarfile.USTAR_FORMAT, {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"}))
    data[1024 + 3] ^= 0xFF  # in the second header's name
    members, problem = listed(bytes(data))
    assert [member.name for member in members] == ["a.jpg"]
    assert problem == "is damaged at byte 1024 (no header of a tar): what follows is lost"


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b" + bytes(2000), b"GIF89a" * 200, b"\xff" * 1024], ids=["gzip", "gif", "ones"]
)
def test_what_is_no_tar_has_no_members(data):
    members, problem = listed(data)
    assert members == ()
    assert problem.startswith("is damaged at byte 0")


def test_random_bytes_in_headers_never_raise():
    good = written(tarfile.PAX_FORMAT, {"é" * 120: b"abc", "b.jpg": b"2"})
    luck = np.random.default_rng(1)
    for _ in range(2000):
        data = bytearray(good)
        for place in luck.integers(0, len(data), int(luck.integers(1, 4))):
            data[place] = int(luck.integers(256))
        mended = _with_checksums(data)
        for each in (bytes(data), mended):
            members, _ = listed(each)
            assert all(0 <= member.offset <= member.offset + member.size <= len(each) for member in members)


def _with_checksums(data: bytearray) -> bytes:
    """The same with right checksums, so that what is behind them is reached."""
    mended = bytearray(data)
    for at in range(0, len(mended) - 511, 512):
        block = mended[at : at + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            mended[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(mended)


def test_a_long_name_of_gigabytes_is_not_read():
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**33 - 1
    block = header.tobuf(tarfile.GNU_FORMAT)
    read = []

    def give(start: int, length: int) -> bytes:
        read.append(length)
        return block

    members, problem = list_members(give, 2**40)
    assert members == ()
    assert "damaged" in problem
    assert max(read) == 512
