"""What `predict --source` names: files, folders and globs, as a list of images and a count of everything else."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from vision_tasks.data.folders import is_image as has_image_name
from vision_tasks.errors import UserError
from vision_tasks.types import Failure

# The first bytes of the formats that are read, for images without an image's extension.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P4", b"P5", b"P6",
               b"\0\0\0\x0cjP  ")  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The images of all sources, each with a unique name relative to its source."""

    images: tuple[tuple[str, Path], ...]  # (name, path)
    skipped: int  # files that are no images
    failures: tuple[Failure, ...] = ()  # folders that could not be looked through


def find_images(sources: Iterable[str | Path], without: Path | None = None) -> Found:
    """Walk all sources, except the folder `without`.

    Raises UserError for a source that doesn't exist, and if there is no image at all.
    """
    excluded = _absolute(without) if without is not None else None
    found: dict[Path, Path] = {}  # image -> where its name begins
    skipped = within = 0
    unread: list[OSError] = []
    for source in map(str, sources):
        for root, path, named in _files(source, unread):
            if excluded is not None and _absolute(path).is_relative_to(excluded):
                within += 1
            elif named or is_image(path):
                found.setdefault(path, root)
            else:
                skipped += 1
    if not found:
        own = f", and {within} in {without}, which is written to" if within else ""
        closed = f", and {unread[0].filename}: {unread[0].strerror}" if unread else ""
        raise UserError(f"no images found in {', '.join(map(str, sources))} ({skipped} other files{own}{closed})")
    closed_folders = (Failure(each.filename, Path(each.filename), each.strerror or str(each)) for each in unread)
    return Found(_named(found), skipped, tuple(closed_folders))


def _named(found: dict[Path, Path]) -> tuple[tuple[str, Path], ...]:
    """(name, path): relative to its source, or where two sources share a name, all relative to their common folder."""
    names = {path.relative_to(root).as_posix(): path for path, root in found.items()}
    if len(names) < len(found):
        common = os.path.commonpath([_absolute(root) for root in found.values()])
        names = {_absolute(path).relative_to(common).as_posix(): path for path in found}
    return tuple(sorted(names.items()))


def _absolute(path: Path) -> Path:
    """Without "..": files are written under names, and none may lead out of the output's folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # pathlib keeps ".."


def is_image(path: Path) -> bool:
    """Whether a file is an image by its extension or by its first bytes."""
    named = has_image_name(path.name)
    try:
        if not S_ISREG(path.stat().st_mode):  # a pipe or device would block, or never end
            return False
        if named:
            return True
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return named
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] == b"ftypavif"


def _files(source: str, unread: list[OSError]) -> Iterator[tuple[Path, Path, bool]]:
    """(root, file, whether the user named this very file) of one source; `unread` gets folders that can't be listed."""
    path = Path(source)
    if path.is_file():
        yield path.parent, path, True
    elif path.is_dir():
        for folder, folders, files in os.walk(path, onerror=unread.append):
            folders.sort()
            for name in sorted(files):
                yield path, Path(folder, name), False
    else:
        matches = sorted(glob.glob(source, recursive=True)) if glob.has_magic(source) else []  # noqa: PTH207  # any pattern, absolute too
        if not matches:
            raise UserError(f"source {source} does not exist")
        for match in map(Path, matches):
            if match.is_file():
                yield match.parent, match, False
