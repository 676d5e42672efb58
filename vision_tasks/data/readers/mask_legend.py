"""Which class a mask's pixel is, by its value or its colour, and the files that say so.

Lists of classes, the first of these at the data set's root: `classes.txt` or `codes.txt` (a name a line, or `0 sky`
with the value before it), `classes.csv` or `class_dict.csv` (columns name,r,g,b, and perhaps id, the value; without
colours only name), `label_colors.txt` (lines `128 128 128 Sky`).

- Values count from 0 in the order of the list unless it gives them, and may have gaps: classes are numbered in the
  order of their values.
- Classes called void, unlabelled or ignore, wherever they stand, count nowhere; neither does the value 255.
- Masks of colours whose list has none are read by the colours of Pascal VOC, and that is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.class_names import composed, numbered, read_lines
from vision_tasks.data.readers.table import Row, read_rows, read_text
from vision_tasks.errors import UserError, some
from vision_tasks.types import IGNORE

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
MOST_CLASSES = 254
UNKNOWN = 254  # what `Legend.table` makes of no class; never a class index, of which 253 is the last

_LISTS = ("classes.txt", "classes.csv", "class_dict.csv", "label_colors.txt", "codes.txt")
_NAME_COLUMNS = ("name", "class", "label")
_VALUE_COLUMNS = ("id", "value", "index")
_COLOUR_COLUMNS = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclass(frozen=True)
class Legend:
    """The classes of masks and what their pixels look like."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # of each class: the value of its pixels, or their colour by `colour_value`
    ignored: tuple[int, ...] = ()  # values, or colours, that count nowhere; the value 255 does not anyway
    colours: bool = False
    listed: tuple[Entry, ...] = ()  # those with a colour, of masks of values: files may mean them by it

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Class index of every value [256], or colour [2^24]; IGNORE or UNKNOWN for those of no class."""
        table = np.full(1 << 24 if self.colours else 256, UNKNOWN, np.uint8)
        table[list(self.ignored)] = IGNORE
        if not self.colours:
            table[IGNORE] = IGNORE
        table[list(self.values)] = np.arange(len(self.values))
        return table


class Entry(NamedTuple):
    """A class in a list."""

    name: str
    value: int
    colour: int | None  # by `colour_value`


def colour_value(red: int, green: int, blue: int) -> int:
    """A colour as one number: its bytes in this order, the lowest first."""
    return red | green << 8 | blue << 16


def said_colour(value: int) -> str:
    """`colour_value` undone, for people."""
    return f"({value & 255},{value >> 8 & 255},{value >> 16})"


def voc_colour(number: int) -> int:
    """The colour of a class in Pascal VOC's masks (VOC2012 development kit, VOClabelcolormap); 255 is the border's."""
    channels = [0, 0, 0]
    for level in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * level + channel) & 1) << (7 - level)
    return colour_value(*channels)


def class_list(root: Path) -> Path | None:
    """The file that names the classes of the data set in `root`, if there is one."""
    return next((path for name in _LISTS if (path := root / name).is_file()), None)


def listed_legend(path: Path, colours: bool) -> tuple[Legend, list[Flaw]]:
    """What a list of classes says of masks of values, or of `colours`. Raises UserError."""
    entries, flaws = read_class_list(path), []
    if colours and all(entry.colour is None for entry in entries):
        flaws.append(Flaw(path, "gives no colours, but the masks have some: read by those of Pascal VOC"))
        entries = [entry._replace(colour=voc_colour(entry.value)) for entry in entries]
        return legend_of(path, entries, colours, (voc_colour(IGNORE),)), flaws
    legend = legend_of(path, entries, colours)
    listed = () if colours else tuple(entry for entry in entries if entry.colour is not None)
    return replace(legend, listed=listed), flaws


def read_class_list(path: Path) -> list[Entry]:
    """The classes in a list, in its order. Raises UserError for a file that is no text, and for what is no colour."""
    if path.suffix == ".csv":
        return _of_table(path)
    lines = read_lines(path)
    if path.name == "label_colors.txt":
        return _colours_first(path, lines)
    return [Entry(composed(name), value, None) for value, name in numbered(lines)]


def legend_of(path: Path, entries: Sequence[Entry], colours: bool, ignored: tuple[int, ...] = ()) -> Legend:
    """Classes in the order of their values. Raises UserError, which names `path`, for classes that can't be."""
    pixels = {entry: _pixel(path, entry, colours) for entry in entries}
    said = Counter(said_colour(value) if colours else str(value) for value in pixels.values())
    repeated = [item for count in (said, Counter(entry.name for entry in entries)) for item in count if count[item] > 1]
    if repeated:
        raise UserError(f"{path}: {some(repeated)} stands in it more than once; every class needs its own")
    classes = sorted((entry for entry in entries if entry.name.casefold() not in VOID_NAMES), key=lambda e: e.value)
    if len(classes) < 2:
        raise UserError(f"{path}: lists {len(classes)} classes; two or more are needed, the background included")
    too_high = not colours and (max(entry.value for entry in entries) > IGNORE or classes[-1].value == IGNORE)
    if len(classes) > MOST_CLASSES or too_high:
        raise UserError(f"{path}: masks hold {MOST_CLASSES} classes of values below 255 at most; merge some classes")
    void = tuple(pixels[entry] for entry in entries if entry not in classes)
    names = tuple(entry.name for entry in classes)
    return Legend(names, tuple(pixels[entry] for entry in classes), (*ignored, *void), colours)


def _pixel(path: Path, entry: Entry, colours: bool) -> int:
    """What the pixels of a class hold."""
    if not colours:
        return entry.value
    if entry.colour is None:
        raise UserError(f"{path}: {entry.name} has no colour, but the masks have colours; write its r,g,b")
    return entry.colour


class _Columns(NamedTuple):
    """Where in a row of a table things stand."""

    name: int
    value: int | None  # None: rows are counted from 0
    channels: tuple[int, ...]


def _of_table(path: Path) -> list[Entry]:
    rows = read_rows(path, re.sub(r"(?m)^#.*$", "", read_text(path)))
    header = [cell.casefold() for cell in rows[0][1]] if rows else []
    if (name := _column(header, _NAME_COLUMNS)) is None:
        return [_entry(path, row, _Columns(0, None, (1, 2, 3)), i) for i, row in enumerate(rows)]
    channels = [_column(header, names) for names in _COLOUR_COLUMNS]
    columns = _Columns(name, _column(header, _VALUE_COLUMNS), tuple(i for i in channels if i is not None))
    return [_entry(path, row, columns, i) for i, row in enumerate(rows[1:])]


def _entry(path: Path, row: Row, columns: _Columns, position: int) -> Entry:
    line, cells = row
    name, value = (cells[i] if i is not None and i < len(cells) else "" for i in (columns.name, columns.value))
    if not name:
        raise UserError(f"{path}, line {line}: has no name of a class; write one")
    if columns.value is not None and not (value.isascii() and value.isdigit()):
        raise UserError(f"{path}, line {line}: the value of {name} is '{value}', no whole number from 0 on; mend it")
    colour = _colour(path, name, [cells[i] for i in columns.channels if i < len(cells)])
    return Entry(composed(name), position if columns.value is None else int(value), colour)


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _colours_first(path: Path, lines: Sequence[str]) -> list[Entry]:
    found = [re.fullmatch(r"(\S+)\s+(\S+)\s+(\S+)\s+(.+)", line) for line in lines]
    wrong = [line for line, match in zip(lines, found, strict=True) if match is None]
    if wrong:
        raise UserError(f"{path}: '{wrong[0]}' isn't of the form `r g b name`; mend it")
    return [
        Entry(composed(match[4].strip()), value, _colour(path, match[4], match.groups()[:3]))
        for value, match in enumerate(filter(None, found))
    ]


def _colour(path: Path, name: str, channels: Sequence[str]) -> int | None:
    """A colour out of three numbers; None where there are none."""
    if not any(channels):
        return None
    if len(channels) != 3 or not all(cell.isascii() and cell.isdigit() and int(cell) <= 255 for cell in channels):
        raise UserError(f"{path}: the colour of {name} is '{','.join(channels)}'; it takes r,g,b, each 0 to 255")
    red, green, blue = map(int, channels)
    return colour_value(red, green, blue)
