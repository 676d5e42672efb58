"""Finds the images that a list names, without a look at the disk for each of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize

from vision_tasks.data.folders import images_by_stem, is_image
from vision_tasks.errors import UserError


class ImageFolder:
    """The images below one folder; every folder in it is listed once, when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[str, frozenset[str]] = {}
        self._by_stem: dict[str, dict[str, str]] = {}

    def find(self, name: str, below: Iterable[str] = ("",)) -> str | None:
        """The file called `name` in the first folder of `below` that has it, relative to the root; None without one.

        `name` may lack an image's extension, have the separators of Windows, and store accents in another way than the
        disk does. Raises UserError, without the place where it is written, if `name` is absolute or leads out of the
        folder.
        """
        parts = _parts(name)
        # Tables travel from macOS, which takes accents apart, to disks that keep them as they are.
        forms = dict.fromkeys((parts, *(tuple(normalize(form, part) for part in parts) for form in ("NFC", "NFD"))))
        places = [(*PurePosixPath(folder).parts, *form) for form in forms for folder in below]
        return next((found for place in places if (found := self._at(place))), None)

    def _at(self, parts: Sequence[str]) -> str | None:
        """The file of that path, or of that path and an image's extension."""
        *way, last = parts
        place = "/".join(way)
        if last in self._listing(place):
            return "/".join(parts)
        full = None if is_image(last) else self._stems(place).get(last)
        return full and "/".join((*way, full))

    def _listing(self, place: str) -> frozenset[str]:
        if place not in self._names:
            self._names[place] = _file_names(self.root / place)
        return self._names[place]

    def _stems(self, place: str) -> dict[str, str]:
        if place not in self._by_stem:
            self._by_stem[place] = images_by_stem(self.root / place) if self._listing(place) else {}
        return self._by_stem[place]


def _file_names(folder: Path) -> frozenset[str]:
    """All files, hidden ones too: whoever lists a file means it."""
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_file())


def _parts(name: str) -> tuple[str, ...]:
    windows = PureWindowsPath(name)
    path = PurePosixPath(windows.as_posix())
    if windows.drive or path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(f"'{name}' is no path below the list's own folder; write it relative to that, without ..")
    return path.parts
