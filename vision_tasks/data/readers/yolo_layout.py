"""Where a YOLO data set has its images, and what it calls its classes: `data.yaml`, or folders alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files, files_below, in_order, is_image, split_folders, split_name, subfolders
from vision_tasks.data.readers.class_names import composed, numbered, read_lines
from vision_tasks.errors import UserError, some

YAML_EXTENSIONS = frozenset({".yaml", ".yml"})
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")
_IMAGES, _LABELS = "images", "labels"


@dataclass
class YoloLayout:
    """A data set found; images are paths below `root`, which are their samples' ids."""

    root: Path
    splits: dict[str, list[str]]
    names: dict[int, str]  # by the number in the label files; empty = nothing names the classes
    named_in: Path
    flaws: list[Flaw] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)  # all of whose images are read


def is_yolo(path: Path) -> bool:
    """Whether `path` is a data.yaml, or a folder with one or with images/ and labels/."""
    if path.is_file():
        return path.suffix.lower() in YAML_EXTENSIONS
    return _yaml(path) is not None or bool(_folders(path))


def find_layout(path: Path) -> YoloLayout:
    """Raises UserError, which names the file and the entry."""
    described = path if path.is_file() else _yaml(path)
    return _described(described) if described else _undescribed(path)


def label_path(image: str) -> str:
    """Where the labels of an image lie: `labels` takes the place of its last folder called `images`, if it has one."""
    stem = os.path.splitext(image)[0]  # noqa: PTH122  a Path for every file takes ten times as long
    before, found, after = f"/{stem}".rpartition(f"/{_IMAGES}/")
    return (f"{before}/{_LABELS}/{after}" if found else f"/{stem}")[1:] + ".txt"


def _yaml(folder: Path) -> Path | None:
    """The file that describes `folder`: of a usual name, or the only one of its kind that names classes."""
    for name in _YAMLS:
        if (folder / name).is_file():
            return folder / name
    others = [folder / name for name in files(folder) if Path(name).suffix in YAML_EXTENSIONS]
    return others[0] if len(others) == 1 and _names_classes(others[0]) else None


def _names_classes(path: Path) -> bool:
    try:
        return "names" in _content(path)
    except UserError:
        return False


def _content(path: Path) -> Mapping[str, Any]:
    try:
        # Every scalar as its text: a class called `no` or `1` is no truth value or number.
        content = yaml.load(path.read_bytes(), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read as YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no description of a data set; it needs train, val and names")
    return content


def _described(path: Path) -> YoloLayout:
    content = _content(path)
    if "kpt_shape" in content:  # after the box their rows go on with points, which nothing tells from a polygon
        raise UserError(f"{path}: kpt_shape: labels with keypoints aren't read; take the points and this entry out")
    layout = YoloLayout(path.parent, {}, _names(path, content), path)
    base = _inside(path, "path", path.parent, content.get("path") or ".", layout)
    given: dict[str, str] = {}
    for key, entry in content.items():
        split = split_name(key)
        if split and entry:
            if split in given:
                raise UserError(f"{path}: {given[split]} and {key} are the same split; keep one of them")
            given[split] = key
            layout.splits[split] = _entry(path, key, base, entry, layout)
    if not layout.splits:
        raise UserError(f"{path}: names no images; it needs train, val or test")
    layout.splits = in_order(layout.splits)
    return layout


def _names(path: Path, content: Mapping[str, Any]) -> dict[int, str]:
    """By number; without `names` those that `nc` counts."""
    given, count = content.get("names") or [], content.get("nc")
    entries = (
        list(given.items()) if isinstance(given, dict) else list(enumerate(given)) if isinstance(given, list) else []
    )
    try:
        names = {int(number): composed(name.strip()) for number, name in entries}
        expected = len(names) if count is None else int(count)
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{path}: 'names' needs a number and a name for each class, and 'nc' is their number") from None
    if not names and count is not None:
        names = {i: f"class{i}" for i in range(expected)}
    if len(names) != expected:
        raise UserError(f"{path}: nc is {expected}, but names has {len(names)} classes; mend one of them")
    if not names or not all(names.values()):
        raise UserError(f"{path}: has no names; it needs the classes' names, in the order of their numbers")
    _check_different(path, names)
    return dict(sorted(names.items()))


def _check_different(path: Path, names: Mapping[int, str]) -> None:
    seen: dict[str, int] = {}
    for number, name in names.items():
        if (other := seen.setdefault(name, number)) != number:
            raise UserError(f"{path}: the classes {other} and {number} are both called '{name}'; rename one")


def _entry(path: Path, key: str, base: Path, entry: Any, layout: YoloLayout) -> list[str]:
    """The images that one entry names: a folder, a list of files, or several of them."""
    found: list[str] = []
    for each in entry if isinstance(entry, list) else [entry]:
        place = _inside(path, key, base, each, layout)
        if place.is_dir():
            found += _below(layout, place)
        elif place.is_file() and place.suffix.lower() == ".txt":
            found += _listed(layout, place, base)
        else:
            raise UserError(f"{path}: {key}: {each} is neither a folder nor a .txt list of images; mend the entry")
    if not found:
        raise UserError(f"{path}: {key}: {some(map(str, entry)) if isinstance(entry, list) else entry} has no images")
    return list(dict.fromkeys(found))


def _inside(path: Path, key: str, base: Path, entry: Any, layout: YoloLayout) -> Path:
    """Where an entry leads, which must be within the folder of `path`.

    `../train/images` is written by exporters that mean `train/images`: where only that is there, it is taken, and told.
    """
    if not isinstance(entry, str):
        raise UserError(f"{path}: {key}: is no path; write a folder or a .txt list of images")
    place = _within(path.parent, base, entry)
    if place is None and (rest := _relative(entry).removeprefix("../")) != _relative(entry):
        place = _within(path.parent, base, rest)
        if place is not None and place.exists():
            layout.flaws.append(Flaw(path, f"{key}: {entry} leads out of the folder: {rest} is read"))
            return place
        place = None
    if place is None:
        raise UserError(f"{path}: {key}: {entry} points outside of {path.parent}; write a path within it")
    return place


def _within(root: Path, base: Path, entry: str) -> Path | None:
    """`entry`, relative to `base`, or None if it lies outside of `root`. Links are followed wherever they lead."""
    place = os.path.normpath(base.absolute() / _relative(entry))
    limit = os.path.normpath(root.absolute())
    if os.path.commonpath([place, limit]) != limit:
        return None
    return root / os.path.relpath(place, limit)


def _relative(entry: str) -> str:
    return entry if "/" in entry else PureWindowsPath(entry).as_posix()


def _below(layout: YoloLayout, folder: Path) -> list[str]:
    """All images in a folder and below it."""
    start = folder.relative_to(layout.root).as_posix()
    start = "" if start == "." else f"{start}/"
    found = [f"{start}{name}" for name in files_below(folder) if is_image(name)]
    layout.folders.update(name.rpartition("/")[0] for name in found)
    return found


def _listed(layout: YoloLayout, path: Path, base: Path) -> list[str]:
    """The images that a list names, relative to its own folder or to the data set's; missing ones are told."""
    there: dict[Path, frozenset[str]] = {}
    found = []
    for line in read_lines(path):
        places = [_within(layout.root, start, line) for start in dict.fromkeys((path.parent, base))]
        inside = [place for place in places if place is not None]
        if not inside:
            raise UserError(f"{path}: {line} points outside of {layout.root}; write paths within it")
        place = next((place for place in inside if _is_there(place, there)), None)
        if place is None:
            layout.flaws.append(Flaw(path, f"{line} is listed but missing: left out"))
        else:
            found.append(place.relative_to(layout.root).as_posix())
    return found


def _is_there(place: Path, there: dict[Path, frozenset[str]]) -> bool:
    """By one listing of each folder; `there` remembers them."""
    if place.parent not in there:
        names = os.listdir(place.parent) if place.parent.is_dir() else ()  # noqa: PTH208  a Path for each takes longer
        there[place.parent] = frozenset(names)
    return place.name in there[place.parent]


def _undescribed(root: Path) -> YoloLayout:
    """Splits by folders, names by a list."""
    names, path = _named(root)
    layout = YoloLayout(root, {}, names, path)
    layout.splits = {split: _below(layout, folder) for split, folder in _folders(root).items()}
    for split, found in layout.splits.items():
        if not found:
            raise UserError(f"{_folders(root)[split]}: has no images")
    read = {image for found in layout.splits.values() for image in found}
    if others := [name for name in files_below(root) if is_image(name) and name not in read]:
        layout.flaws.append(Flaw(root, f"{len(others)} images are in no split: not read ({some(others)})"))
    return layout


def _named(root: Path) -> tuple[dict[int, str], Path]:
    path = next((root / name for name in _LISTS if (root / name).is_file()), None)
    if path is None:
        return {}, root
    names = {number: composed(name) for number, name in numbered(read_lines(path))}
    if not names:
        raise UserError(f"{path}: is empty; it needs the name of a class in each line")
    _check_different(path, names)
    return dict(sorted(names.items())), path


def _folders(root: Path) -> dict[str, Path]:
    """Where the images of each split lie; "all" is a data set without splits."""
    if (root / _IMAGES).is_dir() and (root / _LABELS).is_dir():
        return _splits(subfolders(root / _IMAGES)) or {"all": root / _IMAGES}
    within = (folder for folder in subfolders(root) if (folder / _IMAGES).is_dir() and (folder / _LABELS).is_dir())
    return {split: folder / _IMAGES for split, folder in _splits(within).items()}


def _splits(folders: Iterable[Path]) -> dict[str, Path]:
    """By the split's name, after which a year may stand (`train2017`)."""
    listed = list(folders)
    found = split_folders(listed)
    years = {
        split: each for each in listed if (split := split_name(each.name.rstrip("0123456789"))) not in (None, *found)
    }
    return in_order({**found, **{split: folder for split, folder in years.items() if split}})
