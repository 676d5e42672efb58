"""Whole-image labels as a table with a header: a CSV file, or a folder with one.

Files: the CSV itself; or in a folder `labels.csv` or `annotations.csv`, or one CSV for each split (`train.csv`,
`val.csv`, `test.csv`), or the only CSV that lists labels.

Columns, in upper or lower case: `path` (or image, file, filename, image_id, id and the like, see
`label_table.PATH_COLUMNS`), and the classes in one of two forms:

- `label` (or class, category and the like, see `label_table.LABEL_COLUMNS`): one class, or several joined by `|`. If
  every row has exactly one, they exclude one another; else an image may have several, or none. Where a `|` stands in
  any row, an empty cell (or a `|` alone) is an image of none of the classes; where there is no `|`, it is an error.
- a column for each class with 0 or 1 in every row (two or more): an image may have several. A column without any 0 or
  1 is no class, which is told as a flaw.

`split`, where one table holds the whole data set, says which split a row belongs to. Other columns are not read.

Paths are relative to the CSV's folder, to `images/` beside it, or to the folder that is named like its file
(`train/` of `train.csv`); they may lack the extension. Each image stands in one row: a row that is repeated is a flaw,
one that contradicts another an error; an image that stands in no row is a flaw. Classes are numbered in the order of
their names, over all splits together, and each must have images to train on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, files_below, in_order, is_image, split_name
from vision_tasks.data.readers.class_names import require_classes, require_images, whole_image_truth
from vision_tasks.data.readers.label_table import LABEL_COLUMNS, PATH_COLUMNS, LabelTable, Row, parse
from vision_tasks.data.readers.listed_images import ImageFolder
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.data.readers.table import EXTENSIONS, read_table
from vision_tasks.errors import UserError, some
from vision_tasks.types import Labels, Sample

_NAMES = ("labels.csv", "annotations.csv")

Found = Mapping[tuple[str, str], Row]  # (split, image below the table's folder) -> its row


def _recognises(root: Path) -> bool:
    if root.is_file():
        return root.suffix.lower() in EXTENSIONS
    return bool(_table_files(root))


def _table_files(root: Path) -> dict[str, Path]:
    """The table of each split; "all" is one table for the whole data set."""
    if root.is_file():
        return {split_name(root.stem) or "all": root}
    tables = [root / name for name in files(root) if Path(name).suffix.lower() in EXTENSIONS]
    whole = next((path for name in _NAMES for path in tables if path.name.lower() == name), None)
    if whole is not None:
        return {"all": whole} if _may_list_labels(whole) else {}
    splits: dict[str, Path] = {}
    for path in tables:
        split = split_name(path.stem)
        if split and _may_list_labels(path) and (other := splits.setdefault(split, path)) != path:
            raise UserError(f"{root}: {other.name} and {path.name} are the same split; merge or rename one")
    if splits:
        return splits
    only = [path for path in tables if _lists_labels(path)]
    return {"all": only[0]} if len(only) == 1 else {}


def _may_list_labels(path: Path) -> bool:
    """Whether a file whose name says that it holds labels looks so; one that is no table is not passed over."""
    try:
        table = read_table(path)
    except UserError:
        return True
    # Lists of classes have columns called id or class, too.
    return table.find(PATH_COLUMNS[:-1]) is not None or table.find(LABEL_COLUMNS[:2]) is not None


def _lists_labels(path: Path) -> bool:
    """Whether a file of any name holds labels."""
    try:
        parse(read_table(path), "all")
    except UserError:
        return False
    return True


def _read(root: Path) -> Dataset[Labels]:
    tables = _read_tables(root)
    rows = [row for table in tables for row in table.rows]
    folder, mistakes = tables[0].table.path.parent, Mistakes()
    _check_labels(tables, rows, mistakes)
    found, doubles = _without_doubles(root, _find_images(folder, tables, mistakes), mistakes)
    mistakes.check()
    classes = tuple(sorted({name for table in tables for name in table.classes}))
    _check_classes(root, classes, rows)
    exclusive = not any(table.by_column for table in tables) and all(len(row.labels) == 1 for row in rows)
    flaws = [flaw for table in tables for flaw in table.flaws]
    flaws += [*_suspicions(root, tables, rows), *doubles, *_unlisted(root, folder, found)]
    return Dataset(root, READER.format, classes, _samples(folder, found, classes, exclusive), tuple(flaws), exclusive)


def _read_tables(root: Path) -> list[LabelTable]:
    tables, mistakes = [], Mistakes()
    for split, path in _table_files(root).items():
        try:
            tables.append(parse(read_table(path), split))
        except UserError as error:
            mistakes.add(error)
    mistakes.check()
    return tables


def _check_labels(tables: Iterable[LabelTable], rows: Iterable[Row], mistakes: Mistakes) -> None:
    """A forgotten label would make images of several classes of all the others."""
    if any(table.several for table in tables):
        return
    for row in rows:
        if not row.labels:
            mistakes.add(
                f"{row.at}: has no label; fill it in or remove the row (where images may have several classes or "
                "none, a | alone stands for none)"
            )


def _check_classes(root: Path, classes: tuple[str, ...], rows: Sequence[Row]) -> None:
    require_classes(root, classes)
    for split in sorted({"train", "all"} & {row.split for row in rows}):
        seen = {label for row in rows if row.split == split for label in row.labels}
        require_images(root, classes, seen)


def _find_images(folder: Path, tables: Sequence[LabelTable], mistakes: Mistakes) -> list[tuple[str, Row]]:
    """Each row's image, relative to `folder`."""
    images = ImageFolder(folder)
    found: list[tuple[str, Row]] = []
    missing: list[Row] = []
    for table in tables:
        below = ("", "images", table.table.path.stem)
        for row in table.rows:
            try:
                image = images.find(row.path, below)
            except UserError as error:
                mistakes.add(f"{row.at}: {error}")
                continue
            missing += [row] if image is None else []
            found += [] if image is None else [(image, row)]
    if missing:
        listed = some(f"{row.path} ({row.at})" for row in missing)
        mistakes.add(
            f"{folder}: {len(missing)} of the {len(found) + len(missing)} images listed don't exist: {listed}; add the "
            "files or remove the rows"
        )
    return found


def _without_doubles(root: Path, listed: Iterable[tuple[str, Row]], mistakes: Mistakes) -> tuple[Found, list[Flaw]]:
    """Each image once in its split, and what was told twice."""
    first: dict[str, Row] = {}
    found: dict[tuple[str, str], Row] = {}
    twice, across = [], []
    for image, row in listed:
        other = first.setdefault(image, row)
        if other.labels != row.labels:
            mistakes.add(
                f"{row.at}: {image} has the labels {_joined(row)}, but {_joined(other)} in {other.at}; keep one row, "
                "several labels joined by |"
            )
        if (row.split, image) in found:
            twice.append(image)
        elif other.split != row.split:
            across.append(image)
        found.setdefault((row.split, image), row)
    flaws = [Flaw(root, f"{len(twice)} rows stand there twice: taken once ({some(twice)})")] if twice else []
    if across:
        flaws.append(Flaw(root, f"{len(across)} images are in more than one split ({some(across)})"))
    return found, flaws


def _joined(row: Row) -> str:
    return "|".join(sorted(row.labels)) or "(none)"


def _suspicions(root: Path, tables: Sequence[LabelTable], rows: Sequence[Row]) -> list[Flaw]:
    """What makes classes that exclude one another look as if they didn't."""
    empty = [row for row in rows if not row.labels]
    if any(len(row.labels) > 1 for row in rows):
        return []
    if empty:
        return [Flaw(root, f"{len(empty)} rows have no label ({empty[0].at}): read as images of none of the classes")]
    if any(table.by_column for table in tables):
        return [Flaw(root, "every image has one class; in a column 'label' they would exclude one another")]
    return []


def _unlisted(root: Path, folder: Path, found: Found) -> list[Flaw]:
    """Images that no row names: below the data set's folder or, where only a file was given, beside those it names."""
    listed = {image for _, image in found}
    if root.is_dir():
        there = list(files_below(folder))
    else:
        places = sorted({image.rpartition("/")[0] for image in listed})
        there = [f"{place}/{name}".lstrip("/") for place in places for name in files(folder / place)]
    alone = [name for name in there if is_image(name.rpartition("/")[2]) and name not in listed]
    return [Flaw(folder, f"{len(alone)} images stand in no row: not read ({some(alone)})")] if alone else []


def _samples(
    folder: Path, found: Found, classes: tuple[str, ...], exclusive: bool
) -> dict[str, tuple[Sample[Labels], ...]]:
    number = {name: i for i, name in enumerate(classes)}
    splits: dict[str, list[Sample[Labels]]] = {}
    for (split, image), row in found.items():
        truth = partial(whole_image_truth, tuple(number[name] for name in row.labels), len(classes))
        stratum = next(iter(row.labels)) if exclusive else ""
        splits.setdefault(split, []).append(Sample(image, folder / image, truth, stratum))
    return in_order({split: tuple(samples) for split, samples in splits.items()})


READER: Reader[Labels] = Reader(
    format="csv",
    looks_like="a CSV with the columns path and label, or path and a column of 0 and 1 for each class",
    recognises=_recognises,
    read=_read,
)
