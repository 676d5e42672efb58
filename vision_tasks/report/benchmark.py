"""The files that a benchmark leaves for people, made of its record."""

from __future__ import annotations

from pathlib import Path

from vision_tasks.benchmarking.record import Benchmark
from vision_tasks.engine.progress import say
from vision_tasks.files import write_text
from vision_tasks.report.benchmark_page import benchmark_page
from vision_tasks.report.benchmark_tables import benchmark_csv, benchmark_markdown
from vision_tasks.report.figures import MISSING, can_plot


def write_benchmark_report(record: Benchmark, folder: Path) -> list[Path]:
    """Write `benchmark.md`, `benchmark.csv` and `benchmark.html` into `folder`; returns their paths.

    Pictures of the gallery are looked for in `folder`. Without the plotting library there is no page, which is said.
    Raises OSError.
    """
    texts = {"benchmark.md": benchmark_markdown(record), "benchmark.csv": benchmark_csv(record)}
    if can_plot():
        texts["benchmark.html"] = benchmark_page(record, folder)
    else:
        say(MISSING)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
