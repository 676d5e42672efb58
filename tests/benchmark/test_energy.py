"""Counters of energy, as files of powercap have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vision_tasks.benchmark.energy import Meter, _of_packages

CPU = torch.device("cpu")


def write_zone(folder: Path, name: str, microjoules: int, limit: int = 1_000_000_000) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{microjoules}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{limit}\n")


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        write_zone(tmp_path, name, 0)
    with Meter(CPU, _of_packages(tmp_path)) as meter:
        for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
            write_zone(tmp_path, name, 5_000_000)
    assert meter.joules == pytest.approx(10)


def test_a_counter_that_starts_anew_is_followed(tmp_path):
    write_zone(tmp_path, "intel-rapl:0", 990_000_000)
    with Meter(CPU, _of_packages(tmp_path)) as meter:
        write_zone(tmp_path, "intel-rapl:0", 15_000_000)
        meter.look()
        write_zone(tmp_path, "intel-rapl:0", 20_000_000)
    assert meter.joules == pytest.approx(30)


def test_where_nothing_is_counted_nothing_is_claimed(tmp_path):
    with Meter(CPU, _of_packages(tmp_path)) as meter:
        pass
    assert meter.joules is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert _of_packages(tmp_path) == []


def test_a_counter_that_goes_away_makes_the_sum_unknown(tmp_path):
    write_zone(tmp_path, "intel-rapl:0", 0)
    with Meter(CPU, _of_packages(tmp_path)) as meter:
        (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert meter.joules is None
