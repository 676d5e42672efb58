"""Indices of shards: made once, taken again where they are of the same shard, made anew where they are not."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from vision_tasks.data.shards import index as shard_index
from vision_tasks.data.shards.index import ENDING, index_of, make_index
from vision_tasks.data.shards.media import NearShard
from vision_tasks.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "cache"
    monkeypatch.setenv("VISION_TASKS_CACHE", str(folder))
    return folder


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards whose headers were gone through."""
    made: list[str] = []
    original = shard_index.make_index

    def count(shard, *more):
        made.append(shard.name)
        return original(shard, *more)

    monkeypatch.setattr(shard_index, "make_index", count)
    return made


def write(path: Path, contents: dict[str, bytes]) -> NearShard:
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, BytesIO(content))
    return NearShard(path)


def test_members_are_found_and_short_texts_read(tmp_path):
    contents = {"a.jpg": bytes(range(256)) * 9, "a.cls": b"7\n", "b.json": '{"é": 1}'.encode(), "b.bin": b"x"}
    shard = write(tmp_path / "x.tar", contents)
    index = index_of(shard)
    assert {member.name: shard.read(member.offset, member.size) for member in index.members} == contents
    assert index.texts == {"a.cls": "7\n", "b.json": '{"é": 1}'}
    assert index.problem == ""


def test_the_second_time_nothing_is_gone_through(tmp_path, passes):
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1", "a.cls": b"0", "\udce9.jpg": b"2"})
    first = index_of(shard)
    assert index_of(shard) == first
    assert len(passes) == 1


@pytest.mark.parametrize("change", ["longer", "same size"])
def test_a_shard_that_changes_is_noticed(tmp_path, passes, change):
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1", "a.cls": b"0"})
    index_of(shard)
    write(shard.path, {"b.jpg": b"1", "b.cls": b"1"} | ({"c.jpg": bytes(20_000)} if change == "longer" else {}))
    assert index_of(shard).texts == {"b.cls": "1"}
    assert len(passes) == 2


def test_a_change_in_the_middle_is_noticed_by_its_time(tmp_path, passes):
    shard = write(tmp_path / "x.tar", {"a.jpg": bytes(100_000), "a.cls": b"0", "b.jpg": bytes(100_000)})
    index_of(shard)
    data = bytearray(shard.path.read_bytes())
    data[data.index(b"a.cls") + 512] = ord("5")
    shard.path.write_bytes(data)
    assert index_of(shard).texts == {"a.cls": "5"}
    assert len(passes) == 2


def test_an_index_beside_the_shard_is_taken_wherever_the_shard_goes(tmp_path, passes, cache):
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1", "a.cls": b"0"})
    made = make_index(shard)
    (tmp_path / f"x.tar{ENDING}").write_text(made.dumped())
    other = tmp_path / "other"
    other.mkdir()
    for name in ("x.tar", f"x.tar{ENDING}"):
        (tmp_path / name).rename(other / name)
    assert index_of(NearShard(other / "x.tar")) == made
    assert passes == []
    assert not cache.exists()


def test_an_index_of_another_shard_is_not_taken(tmp_path, passes):
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1", "a.cls": b"0"})
    other = write(tmp_path / "y.tar", {"a.jpg": b"1", "a.cls": b"1"})
    (tmp_path / f"x.tar{ENDING}").write_text(make_index(other).dumped())
    assert index_of(shard).texts == {"a.cls": "0"}
    assert len(passes) == 1


DAMAGED = {
    "empty": "",
    "half": "{",
    "a list": "[1]",
    "deep": "[" * 100_000,
    "little": '{"version": 1}',
    "another version": {"version": 99},
    "beyond the end": {"members": [["a.jpg", 0, 10**9]]},
    "before the start": {"members": [["a.jpg", -5, 3]]},
    "no members": {"members": 3},
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_index_is_made_anew(tmp_path, passes, cache, damage):
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1", "a.cls": b"0"})
    good = index_of(shard)
    (kept,) = (cache / "shards").iterdir()
    kept.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(kept.read_text()) | damage))
    assert index_of(shard) == good
    assert len(passes) == 2
    assert index_of(shard) == good
    assert len(passes) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, passes, cache):
    cache.write_text("a file stands in the way")
    shard = write(tmp_path / "x.tar", {"a.jpg": b"1"})
    assert [member.name for member in index_of(shard).members] == ["a.jpg"]
    assert index_of(shard).members
    assert len(passes) == 2


def test_a_missing_shard_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"gone\.tar: No such file"):
        index_of(NearShard(tmp_path / "gone.tar"))
