"""What was done so far: kept whole or not at all, and read back in the order of names."""

import shutil
from contextlib import closing

import pytest

from vision_tasks.engine.store import Outcome, Store, Version, empty_store, is_store
from vision_tasks.errors import UserError

NAMES = ["b.jpg", "a/c.jpg", "\udcff.jpg", "é.jpg", "a.jpg", "\U0001f600.jpg", "\ue000.jpg", "a b.jpg"]


def done(name, size=(3, 4), **fields):
    return Outcome(name, Version(5, 6), "abc", size, [{"label": name, "score": 0.1}], **fields)


def failed(name):
    return Outcome(name, Version(5, 6), "", reason="broken")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "progress.sqlite"


def test_rows_come_in_the_order_of_names(path):
    with closing(Store(path, {})) as store:
        store.add([done(name) for name in NAMES])
        rows = list(store.rows(seen=True))
        assert [row.image for row in rows] == sorted(NAMES)
        assert all((row.size, row.sha256) == ((3, 4), "abc") for row in rows)
        assert all(row.predictions == [{"label": row.image, "score": 0.1}] for row in rows)
        backwards = store.rows(seen=True).ordered(lambda name: name[::-1])
        assert [row.image for row in backwards] == sorted(NAMES, key=lambda name: name[::-1])
        assert "a.jpg" in store.rows(seen=True)
        assert "a" not in store.rows(seen=True)


def test_an_image_that_failed_is_no_row(path):
    with closing(Store(path, {})) as store:
        store.add([failed("b.jpg"), done("a.jpg"), failed("a/a.jpg")])
        assert [row.image for row in store.rows(seen=True)] == ["a.jpg"]
        assert "b.jpg" not in store.rows(seen=True)
        assert [row["image"] for row in store.failures(seen=True)] == ["a/a.jpg", "b.jpg"]
        assert store.counts(seen=True) == (1, 2, 0)


def test_a_batch_is_kept_whole_or_not_at_all(path):
    with closing(Store(path, {})) as store:
        store.add([done("a.jpg")])
        with pytest.raises(TypeError):
            store.add([done("b.jpg"), Outcome("c.jpg", Version(1, 1), "", (1, 1), [{"label": object()}])])
        assert [row.image for row in store.rows(seen=False)] == ["a.jpg"]


def test_a_later_call_sees_what_it_has_seen(path):
    with closing(Store(path, {})) as store:
        store.add([done("a.jpg"), done("b.jpg"), failed("c.jpg")])
        assert store.known("a.jpg").current
    with closing(Store(path, {})) as store:
        known = store.known("a.jpg")
        assert (known.version, known.sha256, known.failed, known.current) == (Version(5, 6), "abc", False, False)
        assert store.known("c.jpg").failed
        assert store.known("d.jpg") is None
        store.keep("a.jpg", Version(7, 8))
        assert (store.known("a.jpg").version, store.known("a.jpg").current) == (Version(7, 8), True)
        assert [row.image for row in store.rows(seen=True)] == ["a.jpg"]
        assert [row.image for row in store.rows(seen=False)] == ["a.jpg", "b.jpg"]
        store.add([done("c.jpg")])
        assert store.counts(seen=True) == (2, 0, 1)


def test_other_settings_are_told_one_by_one(path):
    Store(path, {"conf": "0.25", "tile": "None"}).close()
    Store(path, {"conf": "0.25", "tile": "None"}).close()
    with pytest.raises(UserError, match=r"begin anew, or the same settings to go on: conf was 0.25, now 0.5$"):
        Store(path, {"conf": "0.5", "tile": "None"})


def test_one_process_at_a_time(path):
    with closing(Store(path, {})), pytest.raises(UserError, match="another predict writes into this folder"):
        Store(path, {})


def test_an_emptied_store_takes_other_settings(path):
    with closing(Store(path, {"conf": "1"})) as store:
        store.add([done("a.jpg")])
    assert is_store(path)
    empty_store(path)
    with closing(Store(path, {"conf": "2"})) as store:
        assert store.counts(seen=False) == (0, 0, 0)


def test_foreign_files_are_no_stores(path):
    assert not is_store(path)
    path.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert not is_store(path)


def test_what_a_kill_leaves_is_known_as_a_store(path, tmp_path):
    """Nothing is closed: the files are what they are while a process works."""
    with closing(Store(path, {})) as store:
        store.add([done("a.jpg")])
        killed = tmp_path / "killed"
        killed.mkdir()
        for file in tmp_path.glob("progress.sqlite*"):
            shutil.copy(file, killed)
    assert is_store(killed / path.name)
    with closing(Store(killed / path.name, {})) as store:
        assert [row.image for row in store.rows(seen=False)] == ["a.jpg"]


def test_an_empty_file_is_begun(path):
    path.touch()
    assert is_store(path)
    Store(path, {}).close()
    assert path.stat().st_size > 0
