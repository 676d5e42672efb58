"""Downloads from a server on this machine: checked, resumed, refused; archives that try to get out of their folder."""

import gzip
import hashlib
import io
import random
import re
import resource
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vision_tasks import download
from vision_tasks.archive import extract
from vision_tasks.cards import DatasetCard
from vision_tasks.download import Checks, cache_folder, data_path, dataset_folder, fetch
from vision_tasks.errors import UserError

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Gives `files`; breaks a transfer off after `breaks[0]` bytes, once for each entry; answers ranges if told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/data.bin": CONTENT}
        self.breaks: list[int] = []
        self.ranges = True
        self.length = True
        self.redirect = ""
        self.requests: list[str | None] = []  # the ranges asked for

    def url(self, name: str = "data.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
            return
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:]
        self.wfile.write(part[: self.server.breaks.pop(0)] if self.server.breaks else part)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _small_chunks_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "CHUNK", 1000)
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def visible(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


def test_a_good_file_comes_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    for _ in range(2):
        path = fetch(
            server.url(), tmp_path / "new" / "data.bin", Checks(sha256=SHA256, size=10240),
            lambda *state: seen.append(state),
        )  # fmt: skip
        assert path.read_bytes() == CONTENT
    assert visible(tmp_path / "new") == ["data.bin"]
    assert server.requests == [None]
    assert seen[0] == ("data.bin", 1000, 10240)
    assert seen[-1] == ("data.bin", 10240, 10240)
    assert len(seen) == 11


def test_prefix_and_md5(server: Server, tmp_path: Path) -> None:
    fetch(server.url(), tmp_path / "a", Checks(sha256_prefix=SHA256[:8], about=10240))
    fetch(server.url(), tmp_path / "b", Checks(md5=MD5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


@pytest.mark.parametrize("sums", [{"sha256": "0" * 64}, {"sha256_prefix": "0" * 8}, {"md5": "0" * 32}], ids=str)
def test_a_wrong_sum_discards_the_file(server: Server, tmp_path: Path, sums: dict[str, str]) -> None:
    found = MD5 if "md5" in sums else SHA256
    expected = next(iter(sums.values()))
    with pytest.raises(UserError, match=f"{found} instead of {expected}; it was discarded.* put it at {tmp_path}/x"):
        fetch(server.url(), tmp_path / "x", Checks(**sums))
    assert visible(tmp_path) == []


def test_a_file_put_there_by_hand_is_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(CONTENT)
    (tmp_path / "bad").write_bytes(b"something else")
    assert fetch("http://127.0.0.1:9/data.bin", tmp_path / "good", Checks(sha256=SHA256)) == tmp_path / "good"
    with pytest.raises(
        UserError, match=f"bad: not the file of .*: sha256 .* instead of {SHA256}; delete or replace it"
    ):
        fetch(server.url(), tmp_path / "bad", Checks(sha256=SHA256))
    assert (tmp_path / "bad").read_bytes() == b"something else"
    assert server.requests == []


def test_a_broken_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    server.breaks = [4000, 3000]
    fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert server.requests == [None, "bytes=4000-", "bytes=7000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_the_next_run_resumes(server: Server, tmp_path: Path) -> None:
    server.breaks = [4000, 0]
    with pytest.raises(UserError, match=r"ended after 4000 of 10240 bytes; 4000 bytes are kept, the next run goes on"):
        fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert visible(tmp_path) == ["x.part"]
    fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert server.requests[-1] == "bytes=4000-"
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "x.part").write_bytes(CONTENT[:4000])
    fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT * 2)
    fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert server.requests == ["bytes=20480-", None]
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_complete_part_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT)
    fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256, size=10240))
    assert server.requests == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        fetch("http://127.0.0.1:9/data.bin", tmp_path / "x", Checks(sha256=SHA256))
    assert str(error.value).startswith("http://127.0.0.1:9/data.bin: no connection (")
    assert str(error.value).endswith(f"; try again, or get it yourself and put it at {tmp_path / 'x'}")
    assert "\n" not in str(error.value)


def test_a_full_disk_is_no_fault_of_the_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(UserError) as error:
        fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert str(error.value) == (
        f"the folder of downloads {tmp_path / 'cache'} can't be used (No space left on device); make room there, or "
        "name another one by VISION_TASKS_CACHE"
    )
    assert server.requests == [None]


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: writing fails then, as on a full disk.

    Not a fixture: it would still hold when pytest prints the test's outcome, to a file that may be longer already.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_when_an_archive_is_unpacked(server: Server, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(10_000) * 3  # packed it is small enough
    card = card_of(server, {"images.zip": (zip_of({"a/1.png": content}), "zip")})
    full = f"{tmp_path / 'cache'} can't be used .*File too large.*by VISION_TASKS_CACHE"
    with pytest.raises(UserError, match=full), no_file_beyond(20_000):
        dataset_folder(card)
    assert visible(tmp_path / "cache" / "datasets") == []


def test_a_cache_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match=r"can't be used .*Not a directory\); make room .*VISION_TASKS_CACHE"):
        fetch(server.url(), tmp_path / "cache" / "weights" / "x", Checks(sha256=SHA256))


def test_not_found(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.bin: the server answered 404 Not Found; try again, or get it yourself"):
        fetch(server.url("gone.bin"), tmp_path / "x", Checks(sha256=SHA256))


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("limit", [{"size": 5000}, {"about": 5000}], ids=str)
def test_never_more_bytes_than_the_card_says(
    server: Server, tmp_path: Path, length: bool, limit: dict[str, int]
) -> None:
    server.length = length
    with pytest.raises(UserError, match=r"has more than the 50[05]0 bytes that are expected; not fetched"):
        fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256, **limit))
    assert visible(tmp_path) == []


def test_a_shorter_file_than_the_card_says(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10240 bytes instead of 20000; it was discarded"):
        fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256, size=20000))


def test_no_checksum_no_download(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no checksum is published, so it is not fetched; .* put it at {tmp_path}/x"):
        fetch(server.url(), tmp_path / "x", Checks())
    assert server.requests == []
    (tmp_path / "x").write_bytes(CONTENT)
    assert fetch(server.url(), tmp_path / "x", Checks()) == tmp_path / "x"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/x", "data:,x", "/etc/hostname"])
def test_only_web_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="only http and https addresses"):
        fetch(url, tmp_path / "x", Checks(sha256=SHA256))


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_no_redirect_to_anything_else(server: Server, tmp_path: Path, target: str) -> None:
    server.redirect = target
    with pytest.raises(UserError):
        fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256))
    assert visible(tmp_path) == []


def test_many_at_the_same_time(server: Server, tmp_path: Path) -> None:
    server.breaks = [2000, 2000]
    results: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(fetch(server.url(), tmp_path / "x", Checks(sha256=SHA256)).read_bytes())
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 6
    assert len(server.requests) == 3  # one of them fetched, in three pieces


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("VISION_TASKS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "vision_tasks"


# --- archives ---


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def plain(
    name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, content if kind == tarfile.REGTYPE else b""


def zip_of(members: dict[str, bytes], mode: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return stream.getvalue()


def unpacked(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_compression(tmp_path: Path, mode: str) -> None:
    folder = plain("a/empty", kind=tarfile.DIRTYPE)
    (tmp_path / "x").write_bytes(tar_of([plain("a/b/1.txt", b"one"), folder, plain("./2.txt", b"two")], mode))
    extract(tmp_path / "x", tmp_path / "out", "tar", 100)
    assert unpacked(tmp_path / "out") == {"a/b/1.txt": b"one", "2.txt": b"two"}
    assert (tmp_path / "out" / "a" / "empty").is_dir()


def test_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zip_of({"a/": b"", "a/1.txt": b"one", "b/2.txt": b"two"}))
    extract(tmp_path / "x", tmp_path / "out", "zip", 6)
    assert unpacked(tmp_path / "out") == {"a/1.txt": b"one", "b/2.txt": b"two"}


ESCAPES = ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", "\\\\host\\share\\evil"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_lands_outside(tmp_path: Path, kind: str, name: str) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    content = zip_of({"good": b"x", name: b"x"}) if kind == "zip" else tar_of([plain("good"), plain(name)])
    (outer / "archive").write_bytes(content)
    with pytest.raises(UserError, match="would be written outside; refused"):
        extract(outer / "archive", outer / "in" / "out", kind, 100)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [outer / "archive"]
    assert not Path("/evil").exists()


LINKS = [
    plain("link", kind=tarfile.SYMTYPE, link="/etc"),
    plain("link", kind=tarfile.SYMTYPE, link="../.."),
    plain("link", kind=tarfile.LNKTYPE, link="/etc/hostname"),
    plain("device", kind=tarfile.CHRTYPE),
    plain("pipe", kind=tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("member", LINKS, ids=lambda member: f"{member[0].type.decode()}-{member[0].linkname}")
def test_links_and_devices_in_a_tar(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    (tmp_path / "x").write_bytes(tar_of([plain("good"), member, plain("link/passwd", b"evil")]))
    with pytest.raises(UserError, match=f"member '{member[0].name}' is a link or a device; refused"):
        extract(tmp_path / "x", tmp_path / "out", "tar", 100)
    assert visible(tmp_path) == ["x"]


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zip_of({"link": b"/etc"}, mode=0o120777))
    with pytest.raises(UserError, match="member 'link' is a link or a device; refused"):
        extract(tmp_path / "x", tmp_path / "out", "zip", 100)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb(tmp_path: Path, kind: str) -> None:
    zeros = bytes(3_000_000)
    content = zip_of({"zeros": zeros}) if kind == "zip" else tar_of([plain("zeros", zeros)])
    assert len(content) < 5000
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match="unpacks to more than 50000 bytes; refused"):
        extract(tmp_path / "x", tmp_path / "out", kind, 50_000)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_damaged_archives(tmp_path: Path, kind: str) -> None:
    whole = zip_of({"a": CONTENT}) if kind == "zip" else tar_of([plain("a", CONTENT)])
    for content in (b"", b"no archive at all", whole[: len(whole) // 2], whole[: len(whole) // 4]):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UserError, match=rf"x: damaged, or not a {kind} archive"):
            extract(tmp_path / "x", tmp_path / "out", kind, 100_000)
        assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["zip", "tar:gz", "tar:bz2", "tar:xz"])
def test_one_wrong_bit_never_makes_another_file(tmp_path: Path, kind: str) -> None:
    """Also in the checksums, which come last; bits that mean nothing (a date, a version) may be wrong."""
    content = {"a": CONTENT[:300], "b/c": b"more"}
    if kind == "zip":
        whole = zip_of(content)
        end = whole.index(b"PK\1\2")  # behind the members: their list has no checksum
    else:
        whole = tar_of([plain(name, data) for name, data in content.items()], kind.replace("tar", "w"))
        end = len(whole)
    places = {*range(0, end, 5), *range(end - 12, end)}
    refused = 0
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        (tmp_path / "x").write_bytes(spoilt)
        try:
            extract(tmp_path / "x", tmp_path / f"{place}", kind[:3], 100_000)
        except UserError:
            refused += 1
        else:
            assert unpacked(tmp_path / f"{place}") == content, place
    assert refused > 0.8 * len(places)


def test_a_tar_that_does_not_end(tmp_path: Path) -> None:
    inner = gzip.decompress(tar_of([plain("a")]))
    (tmp_path / "x").write_bytes(gzip.compress(inner + bytes(30_000_000), 1))
    with pytest.raises(UserError, match="x: goes on for more than 16777216 bytes behind its last member; refused"):
        extract(tmp_path / "x", tmp_path / "out", "tar", 100)


# --- data sets ---


def card_of(server: Server, files: dict[str, tuple[bytes, str]], **fields: object) -> DatasetCard:
    server.files |= {f"/{name}": content for name, (content, _) in files.items()}
    listed = [
        {"url": server.url(name), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "extract": how}
        for name, (content, how) in files.items()
    ]
    record = {
        "name": "tiny", "title": "Tiny", "task": "classify", "format": "folder-per-class", "licence": "MIT",
        "homepage": "https://example.org/", "num_classes": 2, "splits": {"all": 2}, "files": listed,
    }  # fmt: skip
    return DatasetCard.model_validate(record | fields)


def test_a_data_set_of_archives_and_files(server: Server, tmp_path: Path) -> None:
    labels = gzip.compress(b"labels", mtime=0)
    card = card_of(
        server,
        {
            "images.zip": (zip_of({"data/a/1.png": b"1"}), "zip"),
            "more.tar.gz": (tar_of([plain("data/b/2.png", b"2")]), "tar"),
            "labels.gz": (labels, "none"),
        },
        root="data", classes=("cat", "dog"), classes_file="classes.txt",
    )  # fmt: skip
    for _ in range(2):
        folder = dataset_folder(card)
        assert folder == tmp_path / "cache" / "datasets" / "tiny" / "data"
    expected = {"data/a/1.png": b"1", "data/b/2.png": b"2", "data/classes.txt": b"cat\ndog\n", "labels.gz": labels}
    assert unpacked(folder.parent) == expected
    assert len(server.requests) == 3


def test_a_data_set_appears_whole_or_not_at_all(server: Server, tmp_path: Path) -> None:
    good = zip_of({"a/1.png": b"1"})
    card = card_of(server, {"good.zip": (good, "zip"), "evil.zip": (zip_of({"../evil": b"2"}), "zip")})
    with pytest.raises(UserError, match=re.escape("evil.zip: member '../evil' would be written outside")):
        dataset_folder(card)
    assert visible(tmp_path / "cache" / "datasets") == []
    assert not list(tmp_path.rglob("1.png"))


def test_what_a_killed_process_left_is_cleared(server: Server, tmp_path: Path) -> None:
    card = card_of(server, {"good.zip": (zip_of({"a/1.png": b"1"}), "zip")})
    left = tmp_path / "cache" / "datasets" / ".tiny.partial" / "a"
    left.mkdir(parents=True)
    (left / "0.png").write_bytes(b"half")
    assert unpacked(dataset_folder(card)) == {"a/1.png": b"1"}


def test_a_data_set_that_needs_an_account(server: Server) -> None:
    card = card_of(server, {}, manual="get it at https://example.org/ and give its folder as --data")
    with pytest.raises(UserError, match=r"data set 'tiny' can't be fetched: get it at https://example\.org/ and give"):
        dataset_folder(card)


def test_what_data_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fetched = tmp_path / "cache" / "datasets" / "cifar10"
    fetched.mkdir(parents=True)
    assert data_path("cifar10") == fetched / "cifar-10-batches-bin"
    (tmp_path / "cifar10").mkdir()
    assert data_path("cifar10") == Path("cifar10")  # the user's own folder goes before the card
    assert data_path("folder/none") == Path("folder/none")
    with pytest.raises(UserError, match="unknown folder or data set 'voc2013'; did you mean voc20"):
        data_path("voc2013")
    with pytest.raises(UserError, match="data set 'cityscapes' can't be fetched: it needs an account"):
        data_path("cityscapes")
