"""A table as people write them: CSV in UTF-8 with or without a byte-order mark, split by comma, semicolon or tab."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.errors import UserError

EXTENSIONS = frozenset({".csv", ".tsv"})

Row = tuple[int, tuple[str, ...]]  # (line in the file, cells)


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells; cells have no spaces around them."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def find(self, names: Collection[str]) -> int | None:
        """The position of the first of `names` that is a column, in upper or lower case."""
        lower = [column.lower() for column in self.columns]
        return next((lower.index(name) for name in names if name in lower), None)

    def at(self, line: int) -> str:
        """The file and line, as errors name them."""
        return f"{self.path}, line {line}"


def read_table(path: Path, undecodable: str = "strict", may_be_empty: bool = False) -> Table:
    """Read `path`; `undecodable` is what becomes of bytes that are not UTF-8, an error handler's name.

    Raises UserError, which names the file and the lines, for what is no table with a header and rows; that there are no
    rows may be allowed.
    """
    text = read_text(path, undecodable)
    if not text.strip():
        raise UserError(f"{path}: is empty; it needs a header such as path,label and a row for each image")
    found = read_rows(path, text)
    if len(found) < 2 and not may_be_empty:
        raise UserError(f"{path}: has no rows below its header; a row like photos/1.jpg,cat belongs to each image")
    table = Table(path, found[0][1], tuple(found[1:]))
    mistakes = Mistakes()
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            mistakes.add(
                f"{table.at(line)}: has {len(cells)} cells, but the header has {len(table.columns)} columns; mend the "
                "row, or put quotes around a cell that has the delimiter in it"
            )
    mistakes.check()
    return table


def read_rows(path: Path, text: str) -> list[Row]:
    """The rows in the `text` of `path` that aren't empty, a header like the others. Raises UserError."""
    # Not splitlines, which breaks at form feeds and Unicode's line separators, too: they may stand in a name.
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        return [(lines.line_num, tuple(cell.strip() for cell in cells)) for cells in lines if any(cells)]
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num}: can't be read as CSV: {error}") from error


def read_text(path: Path, undecodable: str = "strict") -> str:
    """What is in a file of UTF-8, with or without a byte-order mark, line ends as they are. Raises UserError."""
    try:
        with path.open(encoding="utf-8-sig", errors=undecodable, newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as such") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error


def _delimiter(text: str) -> str:
    """What the header has most of. Names of columns hold none of the three, cells may: so no other line is asked."""
    header = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return max(",;\t", key=header.count)
