"""What a report says of its numbers."""

import json
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.harness import Comparison, environment, read_report, write_report


def compared(load: float, ours: float = 3.0) -> Comparison:
    return Comparison("work", "images/s", 2.0, "peer", [1.0, 1.0], [ours, ours], load)


@pytest.mark.parametrize(
    ("load", "ours", "verdict"), [(0.2, 3.0, "met"), (0.2, 1.5, "missed"), (0.21, 3.0, "disturbed")]
)
def test_a_disturbed_row_claims_nothing(load: float, ours: float, verdict: str) -> None:
    row = compared(load, ours)
    assert f"| 2 | {verdict} | {load:.0%} |" in row.row()
    assert row.record()["verdict"] == verdict


def test_every_report_says_what_was_not_measured(tmp_path: Path) -> None:
    write_report(tmp_path, "usual", "Speed", [compared(0.0)])
    assert (
        (tmp_path / "usual.md")
        .read_text()
        .endswith("\nNot measured:\n\n- anything on CUDA: both sides ran on the CPU\n")
    )
    write_report(tmp_path, "other", "Speed", [compared(0.0)], ("bf16", "Windows"))
    assert (tmp_path / "other.md").read_text().endswith("\nNot measured:\n\n- bf16\n- Windows\n")
    assert json.loads((tmp_path / "other.json").read_text())["not_measured"] == ["bf16", "Windows"]


def test_commands_name_no_folders_of_a_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--data-root", "/home/somebody/data", "--repeats", "3", "--out=sub/folder"])
    assert environment()["command"].endswith(" --data-root data --repeats 3 --out=sub/folder")


def test_a_report_is_gone_on_with_on_the_same_machine_only(tmp_path, monkeypatch):
    write_report(tmp_path, "usual", "Speed", [compared(0.1)])
    (row,) = read_report(tmp_path, "usual")
    assert row.ratios == [3, 3]
    assert row.note.startswith("; measured 20")
    write_report(tmp_path, "usual", "Speed", [row])
    assert read_report(tmp_path, "usual") == [row]  # still with the date of the measurement
    here = environment()
    monkeypatch.setattr(harness, "environment", lambda: here | {"cores": 1000})
    with pytest.raises(SystemExit, match=r"measured elsewhere \(cores\)"):
        read_report(tmp_path, "usual")
