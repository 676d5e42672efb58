"""Counters of energy, as files of powercap have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vision_tasks.benchmarking import nvml
from vision_tasks.benchmarking.energy import Meter, _of_packages

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


class Library:
    """NVIDIA's, of a device that has used so much and runs so fast; calls answer 0 where they succeed."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.asked = code, []

    def __getattr__(self, name: str):
        def call(*arguments: object) -> int:
            self.asked.append((name, *arguments[:1]))
            values = {"nvmlDeviceGetTotalEnergyConsumption": 12_500, "nvmlDeviceGetClockInfo": 1410}
            if name in values:
                arguments[-1]._obj.value = values[name]
            return self.code

        return call


@pytest.mark.parametrize(("visible", "expected"), [("", 1), ("3,5", 5), ("GPU-aa,GPU-bb", b"GPU-bb")])
def test_the_gpu_is_the_one_that_the_process_was_given(visible, expected, monkeypatch):
    library = Library()
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _: library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpu = nvml.Gpu(1)
    (wanted,) = [arguments[0] for name, *arguments in library.asked if "GetHandle" in name]
    assert getattr(wanted, "value", wanted) == expected
    assert (gpu.joules(), gpu.megahertz()) == (12.5, 1410)


def test_a_gpu_that_does_not_tell_counts_nothing(monkeypatch):
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _: Library(code=3))
    with Meter(torch.device("cuda", 0)) as meter:
        pass
    assert meter.joules is None
