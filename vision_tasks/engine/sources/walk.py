"""All sources one after the other, as images with unique names, failures, and a count of everything else.

The walk is lazy and its order fixed, so that a call that was ended is gone on with where it was.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from vision_tasks.engine.sources.archive import Found, archive_items, is_archive
from vision_tasks.engine.sources.folder import absolute, as_item, files_below
from vision_tasks.engine.sources.item import Item
from vision_tasks.engine.sources.video import is_video, video_items
from vision_tasks.errors import UserError
from vision_tasks.types import Failure

STANDARD_INPUT = "-"  # paths, a line each


class Walk:
    """The images of all sources; each `iter` begins anew, and counts anew.

    Names are relative to the source: to the folder, to the folder of a file, a list or an archive, to what a glob has
    before its first wildcard; where there are several sources, to the folder that is common to all of them. What a list
    names elsewhere has its whole path as its name.
    """

    def __init__(self, sources: Iterable[str | Path], without: Path | None = None) -> None:
        """`without` is a folder that is left out. Raises UserError for a source that doesn't exist."""
        self.sources = _distinct([str(source) for source in sources])
        self.without = absolute(without) if without is not None else None
        self.skipped = 0  # files that are no images, so far
        roots = [_root(source) for source in self.sources]
        self._base = Path(os.path.commonpath(roots)) if roots else Path()
        self._ahead: Iterator[Item | Failure] | None = None

    @property
    def reads_standard_input(self) -> bool:
        return STANDARD_INPUT in self.sources

    def __iter__(self) -> Iterator[Item | Failure]:
        ahead, self._ahead = self._ahead, None
        return self._counted() if ahead is None else ahead

    def require_images(self) -> None:
        """Raises UserError if there is no image at all; the first is looked for, no further."""
        walk = self._counted()
        closed: list[Failure] = []
        for each in walk:
            if isinstance(each, Item) or not each.path.is_dir():
                self._ahead = chain(closed, [each], walk)
                return
            closed.append(each)
        inside = self.without is not None and self.without.is_dir() and self.without.is_relative_to(self._base)
        own = f", and {self.without}, which is written to, is left out" if inside else ""
        first = f", and {closed[0].path}: {closed[0].reason}" if closed else ""
        raise UserError(f"no images found in {', '.join(self.sources)} ({self.skipped} other files{own}{first})")

    def _counted(self) -> Iterator[Item | Failure]:
        self.skipped = 0
        for each in chain.from_iterable(map(self._of_source, self.sources)):
            if each is None:
                self.skipped += 1
            else:
                yield each

    def _of_source(self, source: str) -> Iterator[Found]:
        path = Path(source)
        if source == STANDARD_INPUT:
            yield from self._listed(sys.stdin.buffer, Path())
        elif path.suffix.lower() == ".txt" and path.is_file():
            with path.open("rb") as lines:
                yield from self._listed(lines, path.parent)
        elif path.exists():
            yield from self._of_path(path)
        else:
            for match in sorted(glob.glob(source, recursive=True)):  # noqa: PTH207  # any pattern, absolute too
                if not Path(match).is_dir():
                    yield from self._of_path(Path(match), named=False)

    def _listed(self, lines: IO[bytes], folder: Path) -> Iterator[Found]:
        """What a list names: relative to its folder, or else to where the user is."""
        for line in lines:
            for name in line.rstrip(b"\r\n").split(b"\0"):
                if name.strip():
                    path = Path(os.fsdecode(name))
                    yield from self._of_path(folder / path if (folder / path).exists() else path)

    def _of_path(self, path: Path, named: bool = True) -> Iterator[Found]:
        """A folder, or a file; one that the user `named` is an image, whatever it is called."""
        name = self._name(path)
        if self.without is not None and absolute(path).is_relative_to(self.without):
            return
        if path.is_dir():
            for each in files_below(path, self.without):
                yield each if isinstance(each, Failure) else as_item(each, self._name(each))
        elif not path.exists() and not path.is_symlink():
            yield Failure(name, path, "does not exist")
        elif is_archive(path.name):
            yield from archive_items(path, name)
        elif is_video(path.name):
            yield from video_items(path, name)
        else:
            yield as_item(path, name, named)

    def _name(self, path: Path) -> str:
        full = absolute(path)
        return full.relative_to(self._base if full.is_relative_to(self._base) else full.anchor).as_posix()


def find_images(sources: Iterable[str | Path], without: Path | None = None) -> Walk:
    """Walk all sources, except the folder `without`.

    Raises UserError for a source that doesn't exist, and if there is no image at all.
    """
    walk = Walk(sources, without)
    walk.require_images()
    return walk


def _distinct(sources: list[str]) -> list[str]:
    """Each once, however it is written."""
    return list({source if source == STANDARD_INPUT else str(absolute(source)): source for source in sources}.values())


def _root(source: str) -> Path:
    """The folder to which the names of a source are relative. Raises UserError for one that doesn't exist."""
    path = Path(source)
    if source == STANDARD_INPUT:
        return Path.cwd()
    if path.is_dir():
        return absolute(path)
    if path.exists():
        return absolute(path).parent
    if not glob.has_magic(source) or next(glob.iglob(source, recursive=True), None) is None:  # noqa: PTH207
        raise UserError(f"source {source} does not exist")
    whole = path.parts
    fixed = whole[: next(i for i, part in enumerate(whole) if glob.has_magic(part))]
    return absolute(Path(*fixed))
