"""Findings about labels: what readers dropped or clipped, what can't be read, what is odd, and ids that repeat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.coco_file import CocoFile, read_coco
from vision_tasks.data.readers.mistakes import JoinedUserError
from vision_tasks.doctor.finding import Finding, Severity, below, found
from vision_tasks.doctor.images import Examination
from vision_tasks.doctor.truths import COVERING, MOSTLY_VOID, SAME_BOX, TINY_SIDE
from vision_tasks.errors import UserError

_COCO = "coco"
_ODDITIES: Mapping[str, tuple[Severity, str]] = {
    "box-twice": ("warning", f"boxes on another one of their class, at an IoU above {SAME_BOX}"),
    "box-of-two-classes": ("warning", f"boxes on one of another class, at an IoU above {SAME_BOX}"),
    "tiny-box": ("warning", f"boxes with a side of less than {TINY_SIDE:g} pixels"),
    "box-covers-image": ("warning", f"boxes that cover {COVERING:.0%} of their image or more"),
    "mask-empty": ("warning", "masks of nothing that counts"),
    "mask-of-one-class": ("note", "masks of one class only"),
    "mask-mostly-void": ("warning", f"masks that are void in over {MOSTLY_VOID:.0%} of their pixels"),
}


def mistake_findings(error: UserError) -> list[Finding]:
    """Why the label files can't be read at all."""
    messages = error.messages if isinstance(error, JoinedUserError) else [str(error)]
    return found("labels-unreadable", "error", "mistakes because of which labels can't be read", messages)


def label_findings(dataset: Dataset[Any], images: Sequence[Examination]) -> list[Finding]:
    """Everything about labels but the balance of classes."""
    truths, others = ([flaw for flaw in dataset.flaws if flaw.of_truth == kind] for kind in (True, False))
    unreadable = [each.label_problem for each in images if each.label_problem]
    return [
        *found("label-unreadable", "error", "labels that can't be used", list(dict.fromkeys(unreadable))),
        *found("label-error", "error", "wrong annotations, which were dropped or clipped", _said(dataset, truths)),
        *found("reader-flaw", "warning", "remarks of the reader", _said(dataset, others)),
        *_oddities(images),
        *id_findings(dataset),
    ]


def _said(dataset: Dataset[Any], flaws: Sequence[Flaw]) -> list[str]:
    return [f"{below(flaw.path, dataset.root)}: {flaw.what}" for flaw in flaws]


def _oddities(images: Sequence[Examination]) -> list[Finding]:
    places: dict[str, list[str]] = defaultdict(list)
    for each in images:
        for kind, words in each.truth.oddities if each.truth else ():
            places[kind].append(f"{each.id}: {words}")
    return [
        finding for kind, (severity, what) in _ODDITIES.items() for finding in found(kind, severity, what, places[kind])
    ]


def id_findings(dataset: Dataset[Any]) -> list[Finding]:
    """Ids of COCO's files: those that two splits use, and a category 0, which some tools take for the background."""
    if dataset.format != _COCO:
        return []
    files = _coco_files(dataset.root)
    images = _repeated(file.images for file in files)
    annotations = _repeated((annotation.at for annotation in file.annotations) for file in files)
    zero = [f"{below(file.path, dataset.root)}: {file.categories[0].name}" for file in files if 0 in file.categories]
    return [
        *found("image-id-repeats", "note", "ids that mean other images in other splits", images),
        *found("annotation-id-repeats", "note", "ids that mean other annotations in other splits", annotations),
        *found("category-id-0", "note", "files that number their categories from 0, and many tools from 1", zero),
    ]


def _coco_files(root: Path) -> list[CocoFile]:
    paths = [root] if root.is_file() else [*root.glob("*.json"), *root.glob("*/*.json")]
    files = []
    for path in sorted(paths):
        try:
            files.append(read_coco(path))
        except UserError:  # other JSON, since what the reader took could be read
            continue
    return files


def _repeated(lists: Iterable[Iterable[Any]]) -> list[str]:
    counts = Counter(each for ids in lists for each in set(ids))
    return [str(each) for each, count in counts.items() if count > 1]
