"""`vision-tasks data check PATH`: reads a data set once and says what is wrong with it; nothing is ever changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vision_tasks.commands.datasets import open_any, require_outside, tasks_for
from vision_tasks.data.dataset import Dataset
from vision_tasks.doctor.balance import Tally, balance_findings, tally
from vision_tasks.doctor.duplicates import duplicate_findings
from vision_tasks.doctor.finding import Finding, is_healthy, worst_first
from vision_tasks.doctor.images import examine_images
from vision_tasks.doctor.labels import label_findings, mistake_findings
from vision_tasks.doctor.pictures import picture_findings
from vision_tasks.doctor.sequences import sequence_findings
from vision_tasks.engine.progress import progress, say
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.report.data_check import data_check_page

_SHOWN = 3  # places of a finding on the terminal


@dataclass(frozen=True)
class Checkup:
    """What was found in a data set."""

    record: dict[str, Any]  # what `check.json` holds
    findings: tuple[Finding, ...]  # the worst first

    @property
    def healthy(self) -> bool:
        """Whether there is nothing but notes."""
        return is_healthy(self.findings)


def check_dataset(
    data: str | Path,
    *,
    task: str | None = None,
    data_format: str | None = None,
    pixels: bool = True,
    out: str | Path | None = None,
) -> Checkup:
    """Look at every image and label of `data`; writes `check.json` and `check.html` into `out` if given.

    Without `pixels` nothing is decoded: files, headers and label files alone are read. Raises UserError where there is
    no data set; labels that can't be read are findings.
    """
    if out is not None:
        require_outside(out, data)
    tasks_for(data, task, data_format)  # what is no data set at all is the user's error, and no finding
    try:
        name, dataset = open_any(data, task, data_format)
    except UserError as error:
        checkup = _concluded({"path": str(data)}, mistake_findings(error))
    else:
        checkup = _checked(name, dataset, pixels)
    _tell(checkup)
    if out is not None:
        _write(checkup, Path(out))
    return checkup


def _checked(task: str, dataset: Dataset[Any], pixels: bool) -> Checkup:
    samples = {sample.id: sample for split in dataset.splits.values() for sample in split}
    with progress("checking", len(samples)) as bar:
        images = examine_images(dataset, pixels, bar.advance)
    counted = tally(dataset, images)
    findings = [
        *picture_findings(images),
        *label_findings(dataset, images),
        *balance_findings(counted, images),
        *duplicate_findings(images, samples),
        *sequence_findings(images, dataset.classes),
    ]
    about = {
        "path": str(dataset.root),
        "task": task,
        "format": dataset.format,
        "images": len(samples),
        "pixels": pixels,
        "splits": {split: len(members) for split, members in dataset.splits.items()},
        "classes": _classes(counted),
    }
    return _concluded(about, findings)


def _concluded(about: dict[str, Any], findings: Sequence[Finding]) -> Checkup:
    ordered = worst_first(findings)
    record = about | {"healthy": is_healthy(ordered), "findings": [finding.as_record() for finding in ordered]}
    return Checkup(record, tuple(ordered))


def _classes(counted: Tally) -> list[dict[str, Any]]:
    """A row for each class: how much of it there is, and in how many images, by split."""
    return [
        {
            "name": name,
            "count": _by_split(counted, counted.counts[:, k]),
            "images": _by_split(counted, counted.images[:, k]),
        }
        for k, name in enumerate(counted.classes)
    ]


def _by_split(counted: Tally, values: np.typing.NDArray[Any]) -> dict[str, int]:
    return {split: int(value) for split, value in zip(counted.splits, values.tolist(), strict=True)}


def _tell(checkup: Checkup) -> None:
    about = checkup.record
    if "format" in about:
        splits = ", ".join(f"{name} {count}" for name, count in about["splits"].items())
        say(f"{about['path']}: {about['format']}, {len(about['classes'])} classes; {splits}")
    for finding in checkup.findings:
        print(f"{finding.severity:8} {finding.as_text(_SHOWN)}")
    if checkup.healthy:
        print("nothing is wrong with it, as far as this can be seen")


def _write(checkup: Checkup, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "check.json", json.dumps(checkup.record, indent=1) + "\n")
    write_text(folder / "check.html", data_check_page(checkup.record))
    say(f"wrote {folder / 'check.json'}, {folder / 'check.html'}")
