"""What a table says of each image: its path, its labels, its split; the forms are described in `csv_labels`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import split_name
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.data.readers.table import Table
from vision_tasks.errors import UserError, some

# fmt: off
PATH_COLUMNS = ("path", "filepath", "file_path", "image_path", "file", "filename", "file_name", "image", "image_name",
                "image_file", "image_id", "img", "img_path", "id")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "category", "categories", "tag", "tags")
# fmt: on
_NOT_CLASSES = frozenset({"", "id", "index", "unnamed: 0", "split"})  # columns that may hold nothing but 0 and 1
_SEPARATOR = "|"
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    at: str  # file and line, for errors
    path: str  # as it is written there
    labels: frozenset[str]
    split: str


@dataclass(frozen=True)
class LabelTable:
    """A table understood."""

    table: Table
    rows: tuple[Row, ...]
    classes: frozenset[str]
    by_column: bool  # a column for each class
    several: bool  # it says that an image may have several classes or none, by such columns or by a | in some cell
    flaws: tuple[Flaw, ...] = ()


def parse(table: Table, split: str) -> LabelTable:
    """Read `table`, whose rows belong to `split`; if that is "all", a column called split may say more.

    Raises UserError, which names the file and the lines or the columns there are.
    """
    path = table.find(PATH_COLUMNS)
    if path is None:
        raise UserError(f"{table.path}: has no column 'path' for the images; its columns are {_quoted(table)}")
    label = table.find(LABEL_COLUMNS)
    columns = _class_columns(table, path) if label is None else {}
    split_column = table.find(("split",)) if split == "all" else None
    rows, mistakes = [], Mistakes()
    for line, cells in table.rows:
        try:
            part = split if split_column is None else _split(table, line, cells[split_column])
            labels = _from_columns(table, line, cells, columns) if label is None else _from_cell(cells[label])
            rows.append(Row(table.at(line), _required(table, line, "path", cells[path]), labels, part))
        except UserError as error:
            mistakes.add(error)
    mistakes.check()
    if label is None:
        return LabelTable(table, tuple(rows), frozenset(columns), True, True, _unread(table, path, columns))
    several = any(_SEPARATOR in cells[label] for _, cells in table.rows)
    return LabelTable(table, tuple(rows), frozenset(name for row in rows for name in row.labels), False, several)


def _split(table: Table, line: int, cell: str) -> str:
    """The split that a row names."""
    name = _required(table, line, "split", cell)
    return split_name(name) or name


def _required(table: Table, line: int, what: str, cell: str) -> str:
    if not cell:
        raise UserError(f"{table.at(line)}: has no {what}; fill it in or remove the row")
    return cell


def _from_cell(cell: str) -> frozenset[str]:
    return frozenset(composed(name.strip()) for name in cell.split(_SEPARATOR) if name.strip())


def _from_columns(table: Table, line: int, cells: Sequence[str], columns: Mapping[str, int]) -> frozenset[str]:
    for column in columns.values():
        if cells[column] not in _TRUTH:
            raise UserError(
                f"{table.at(line)}: has '{cells[column]}' in the column '{table.columns[column]}'; a class has 0 or 1"
            )
    return frozenset(name for name, column in columns.items() if _TRUTH[cells[column]])


def _class_columns(table: Table, path: int) -> dict[str, int]:
    """The columns that hold 0 and 1, by their names."""
    classes = [i for i in _candidates(table, path) if any(cells[i] in _TRUTH for _, cells in table.rows)]
    if len(classes) < 2:
        raise UserError(
            f"{table.path}: has no column 'label', nor two or more columns of 0 and 1, one for each class; its columns "
            f"are {_quoted(table)}"
        )
    repeated = [name for name, count in Counter(table.columns[i] for i in classes).items() if count > 1]
    if repeated:
        raise UserError(f"{table.path}: the column {some(repeated)} stands there twice; remove or rename one")
    return {composed(table.columns[i]): i for i in classes}


def _unread(table: Table, path: int, classes: Mapping[str, int]) -> tuple[Flaw, ...]:
    names = [table.columns[i] for i in _candidates(table, path) if i not in classes.values()]
    return (Flaw(table.path, f"no 0 or 1 in the columns {some(names)}: not read as classes"),) if names else ()


def _candidates(table: Table, path: int) -> list[int]:
    return [i for i, name in enumerate(table.columns) if i != path and name.lower() not in _NOT_CLASSES]


def _quoted(table: Table) -> str:
    return ", ".join(f"'{column}'" for column in table.columns)
