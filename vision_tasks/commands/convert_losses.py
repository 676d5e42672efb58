"""What a source's files say and nothing here reads: it is lost in any conversion, so it is counted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_tasks.commands.conversion import Losses
from vision_tasks.data.dataset import Dataset

_VOC_MARKS = {
    "objects marked difficult": rb"<difficult>\s*1\s*<",
    "objects marked truncated": rb"<truncated>\s*1\s*<",
    "objects marked occluded": rb"<occluded>\s*1\s*<",
    "objects with a pose": rb"<pose>\s*(?!Unspecified|\s*<)",
    "parts of objects": rb"<part>",
}
_COCO_READ: Mapping[str, frozenset[str]] = {
    "images": frozenset({"id", "file_name", "width", "height"}),
    "annotations": frozenset({"id", "image_id", "category_id", "bbox", "area", "iscrowd"}),
    "categories": frozenset({"id", "name"}),
}
_OUTLINE = "segmentation"


def count_unread(dataset: Dataset[Any], outlines: bool, losses: Losses) -> None:
    """Count what the files of `dataset` hold beside what was read; `outlines`: whether outlines were."""
    if dataset.format == "pascal-voc" and (dataset.root / "Annotations").is_dir():
        for path in sorted((dataset.root / "Annotations").glob("*.xml")):
            data = path.read_bytes()
            for what, pattern in _VOC_MARKS.items():
                losses.add(what, len(re.findall(pattern, data)))
    if dataset.format == "coco":
        for path in _json_files(dataset.root):
            _count_keys(path, outlines, losses)


def _json_files(root: Path) -> list[Path]:
    return [root] if root.is_file() else [*root.glob("*.json"), *root.glob("*/*.json")]


def _count_keys(path: Path, outlines: bool, losses: Losses) -> None:
    try:
        content = json.loads(path.read_bytes())
        lists = {kind: content[kind] for kind in _COCO_READ}
    except (ValueError, KeyError, TypeError):  # other JSON, which nobody has read
        return
    for kind, rows in lists.items():
        for row in rows:
            for key in sorted(row.keys() - _COCO_READ[kind]):
                if row[key] not in (None, [], "", "none") and not (outlines and key == _OUTLINE):
                    losses.add(f"'{key}' of {kind}")
    if outlines:
        losses.add("single objects, which become pixels of their class", len(lists["annotations"]))
