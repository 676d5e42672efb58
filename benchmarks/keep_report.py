"""What can be published of a benchmark's folder: `python -m benchmarks.keep_report runs/families/bccd`.

Its record as JSON, Markdown and CSV, and a picture of the upper part of its page; without the gallery, whose images
are other people's, and without paths of the machine that made it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.harness import REPORTS, ROOT
from benchmarks.report_page import chromium, wait_for_plot
from vision_tasks.benchmarking.record import Benchmark, read_benchmark
from vision_tasks.engine.run_folder import dumps
from vision_tasks.files import write_text
from vision_tasks.report.benchmark_page import benchmark_page
from vision_tasks.report.benchmark_tables import benchmark_csv, benchmark_markdown

_WIDTH, _HEIGHT = 1100, 1500  # of the picture, in pixels


def without_places(record: Benchmark) -> Benchmark:
    """The same without a gallery, absolute paths shortened: what lies beside the project begins with `../`."""
    text = record.model_copy(update={"gallery": ()}).model_dump_json()
    for folder, short in ((f"{ROOT}/..", ".."), (ROOT, "."), (ROOT.parent, "..")):
        text = text.replace(json.dumps(f"{folder}/")[1:-1], f"{short}/")
    return Benchmark.model_validate_json(text)


def take_picture(html: str, out: Path) -> None:
    """The upper part of a page, as Chromium shows it."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        tab = browser.new_context(viewport={"width": _WIDTH, "height": _HEIGHT}).new_page()
        tab.goto(page.as_uri())
        wait_for_plot(tab)
        tab.screenshot(path=out)


def main() -> None:
    """Write benchmarks/reports/families/NAME.json, .md, .csv and .png for each folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=REPORTS / "families")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for folder in given.folders:
        record = without_places(read_benchmark(folder))
        write_text(given.out / f"{folder.name}.json", dumps(record.model_dump()) + "\n")
        write_text(given.out / f"{folder.name}.md", benchmark_markdown(record))
        write_text(given.out / f"{folder.name}.csv", benchmark_csv(record))
        with tempfile.TemporaryDirectory() as nothing:
            take_picture(benchmark_page(record, Path(nothing)), given.out / f"{folder.name}.png")
        print(f"kept {folder.name} in {given.out}")


if __name__ == "__main__":
    main()
