"""Getting files from the web: checked before they are used, resumed where they broke off, kept in a cache.

Everything lands in one folder of the user (`cache_folder`). A file that is wanted and can't be fetched may be put there
by hand: it is checked all the same.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from filelock import FileLock

from vision_tasks.archive import appearing, unpack
from vision_tasks.cards import DatasetCard, RemoteFile, dataset_card, dataset_names
from vision_tasks.errors import UserError, unknown_name

Progress = Callable[[str, int, int | None], None]  # file name, bytes there so far, bytes in all where they are known

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # at a transfer that breaks off
UNPACKED = 10  # times its archive: what a data set may take up; images hardly shrink, a bomb grows a thousandfold
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # writing gives no file name
_SLACK = 1.01  # of a size that was published rounded


class Checks(NamedTuple):
    """What is known of a file; whatever is given must agree."""

    sha256: str | None = None
    sha256_prefix: str | None = None
    md5: str | None = None
    size: int | None = None  # bytes, exactly
    about: int | None = None  # bytes, rounded: never more than a hundredth above

    @property
    def sums(self) -> dict[str, str]:
        """Expected digits by algorithm, the first ones or all."""
        given = {"sha256": self.sha256 or self.sha256_prefix, "md5": self.md5}
        return {algorithm: digits for algorithm, digits in given.items() if digits}

    @property
    def most(self) -> int | None:
        """Bytes that are accepted at all."""
        return self.size or (int(self.about * _SLACK) if self.about else None)


def cache_folder() -> Path:
    """Where downloads are kept: `VISION_TASKS_CACHE`, else the platform's folder for such files."""
    if chosen := os.environ.get("VISION_TASKS_CACHE"):
        return Path(chosen).expanduser().absolute()
    usual = {"Darwin": Path.home() / "Library" / "Caches", "Windows": Path.home() / "AppData" / "Local"}
    base = os.environ.get("XDG_CACHE_HOME") or usual.get(platform.system(), Path.home() / ".cache")
    return Path(base) / "vision_tasks"


@contextmanager
def _in_cache() -> Iterator[None]:
    """Tells failures of the disk as what they are: downloads need not lie on this one."""
    try:
        yield
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        raise UserError(
            f"the folder of downloads {cache_folder()} can't be used ({file}{error.strerror or error}); make room "
            "there, or name another one by VISION_TASKS_CACHE"
        ) from error


@_in_cache()
def fetch(url: str, destination: Path, checks: Checks, progress: Progress | None = None) -> Path:
    """`destination`, downloaded from `url` unless it is there; in both cases checked.

    A broken transfer stays as `destination` + ".part" and is resumed, now or the next time; the name `destination`
    is only ever given to a checked file. Processes that want the same file wait for one another.

    Raises UserError, which says where to put the file by hand, if it can't be had, if nobody published a checksum, if a
    sum or size is not the expected one (what was downloaded is then discarded); and if the disk is full.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    # A file under its own name is complete: a cache that is read-only needs no lock.
    if not destination.exists():
        with _alone(destination):
            if not destination.exists():
                _download(url, destination, checks, progress)
                return destination
    _require(checks, destination, f"{destination}: not the file of {url}", "delete or replace it")
    return destination


def data_path(data: Path | str, progress: Progress | None = None) -> Path:
    """What `--data` names: a folder or file of the user's, else the folder of the data set whose card is called so.

    Raises UserError for a name that is only like a card's, and what `dataset_folder` raises. Any other path is returned
    unseen: whoever opens it knows better what is wrong with it.
    """
    path, name = Path(data), str(data)
    if path.exists():
        return path
    if name in dataset_names():
        return dataset_folder(dataset_card(name), progress)
    if len(path.parts) == 1 and get_close_matches(name, dataset_names(), cutoff=0.7):
        raise unknown_name("folder or data set", name, dataset_names())
    return path


@_in_cache()
def dataset_folder(card: DatasetCard, progress: Progress | None = None) -> Path:
    """The folder of a data set, fetched and unpacked if this is the first time.

    It appears in one step when all its files are there: what lies there is complete.
    Raises UserError as `fetch` and `extract` do, and for sets that their users must get themselves.
    """
    if card.manual:
        raise UserError(f"data set '{card.name}' can't be fetched: {card.manual}")
    folder = cache_folder() / "datasets" / card.name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        downloads = cache_folder() / "downloads" / card.name
        files = [(file, _fetch_file(file, downloads / file.name, progress)) for file in card.files]
        with _alone(folder):
            if not folder.is_dir():
                with appearing(folder) as staging:
                    for file, path in files:
                        _place(file, path, staging)
                    if card.classes_file:
                        names = staging / card.root / card.classes_file
                        names.write_text("\n".join(card.classes) + "\n", encoding="utf-8")
    return folder / card.root


def _fetch_file(file: RemoteFile, destination: Path, progress: Progress | None) -> Path:
    return fetch(file.url, destination, Checks(sha256=file.sha256, md5=file.md5, size=file.bytes), progress)


def _place(file: RemoteFile, path: Path, staging: Path) -> None:
    if file.extract == "none":
        shutil.copyfile(path, staging / file.name)
    else:
        unpack(path, staging, file.extract, UNPACKED * path.stat().st_size)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold other processes and threads that want `path` until the block ends, however it ends."""
    with FileLock(path.with_name(f".{path.name}.lock"), is_singleton=False):
        yield


def _download(url: str, destination: Path, checks: Checks, progress: Progress | None) -> None:
    if not checks.sums:
        raise UserError(
            f"{url}: no checksum is published, so it is not fetched; get it yourself and put it at {destination}"
        )
    part = destination.with_name(destination.name + ".part")
    _transfer(url, part, destination, checks, progress)
    try:
        _require(checks, part, f"{url}: not the expected file", f"it was discarded; try again, {_by_hand(destination)}")
    except UserError:
        part.unlink()
        raise
    part.replace(destination)


def _transfer(url: str, part: Path, destination: Path, checks: Checks, progress: Progress | None) -> None:
    """Bring the rest of `url` into `part`, in several attempts as long as each gets further."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _attempt(url, part, checks, progress)
            return
        except (HTTPException, OSError) as error:
            if _is_local(error):
                raise
            if attempt == ATTEMPTS or _size(part) <= before:
                kept = f"; {_size(part)} bytes are kept, the next run goes on from there" if _size(part) else ""
                raise UserError(f"{url}: {_reason(error)}{kept}; try again, {_by_hand(destination)}") from None


def _attempt(url: str, part: Path, checks: Checks, progress: Progress | None) -> None:
    start = _size(part)
    if checks.size is not None and start == checks.size:
        return
    with _open(url, start) as answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0  # the server sends everything
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else checks.size
        done = _receive(answer, part, start, total, checks.most, progress)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _receive(
    answer: HTTPResponse, part: Path, start: int, total: int | None, most: int | None, progress: Progress | None
) -> int:
    """Append what comes to `part` and count all that is there then."""
    done = start
    with part.open("ab" if start else "wb") as file:
        while chunk := answer.read(CHUNK):
            done += len(chunk)
            if most is not None and max(done, total or 0) > most:
                part.unlink()
                raise UserError(f"{answer.url}: has more than the {most} bytes that are expected; not fetched")
            file.write(chunk)
            if progress is not None:
                progress(part.name.removesuffix(".part"), done, total)
    return done


def _is_local(error: Exception) -> bool:
    """Whether the disk is at fault and not the network; an HTTP error, too, has a file name: its address."""
    if not isinstance(error, OSError) or isinstance(error, URLError):
        return False
    return error.filename is not None or error.errno in _OF_DISKS


def _open(url: str, start: int) -> HTTPResponse:
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url}: only http and https addresses are fetched")
    # Not urllib's usual opener: that one also follows to ftp, file and data addresses.
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    headers = {"User-Agent": "vision-tasks", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer: HTTPResponse = opener.open(request.Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        return _open(url, 0)  # what is there is no beginning of this file
    return answer


def _require(checks: Checks, path: Path, complaint: str, remedy: str) -> None:
    """Raise UserError unless the file at `path` is the one that `checks` describe."""
    size = _size(path)
    if checks.size is not None and size != checks.size:
        raise UserError(f"{complaint}: {size} bytes instead of {checks.size}; {remedy}")
    for algorithm, expected in checks.sums.items():
        found = _checksum(path, algorithm)
        if not found.startswith(expected):
            raise UserError(f"{complaint}: {algorithm} {found} instead of {expected}; {remedy}")


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.new, algorithm, usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    return f"no connection ({error.reason})" if isinstance(error, URLError) else f"{error or type(error).__name__}"


def _by_hand(destination: Path) -> str:
    return f"or get it yourself and put it at {destination}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
