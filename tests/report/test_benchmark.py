"""What a benchmark leaves for people says what its record says, and no more."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.report_page import BYTES, invented, write_pictures
from tests.benchmarking.example import example
from tests.report.records import write_benchmark_folder
from tests.report.test_page import Tree
from vision_tasks.benchmarking.record import Judgement
from vision_tasks.report import figures
from vision_tasks.report.benchmark import write_benchmark_report
from vision_tasks.report.benchmark_page import benchmark_page
from vision_tasks.report.benchmark_tables import benchmark_csv, benchmark_markdown


def headings(source: str) -> list[str]:
    return [part.split("</h2>")[0] for part in source.split("<h2>")[1:]]


def test_the_page_begins_with_sentences_and_ends_with_the_command(tmp_path: Path) -> None:
    record = write_benchmark_folder(tmp_path)
    source = benchmark_page(record, tmp_path)
    assert Tree(source).open == []
    assert headings(source) == [
        "Quality and cost", "All models", "Failed", "Classes", "Learning curves", "Confusion", "Reliability",
        "Images on which models disagree", "How it was measured",
    ]  # fmt: skip
    assert source.index(record.judgement.sentences[0]) < source.index("<h2>")
    assert source.index(record.command) > source.index("How it was measured</h2>")
    assert "the loss is no longer finite in epoch 1, step 3" in source
    assert source.count("data:image/jpeg") == 4


def test_what_is_not_in_the_record_has_no_section(tmp_path: Path) -> None:
    nothing = Judgement(pairs=(), ties=(), pareto={}, device="cpu", sentences=(), remarks=())
    bare = example().model_copy(update={"models": (), "judgement": nothing, "gallery": ()})
    assert headings(benchmark_page(bare, tmp_path)) == ["How it was measured"]


def test_the_table_of_csv_holds_every_number() -> None:
    rows = list(csv.DictReader(benchmark_csv(example()).splitlines()))
    assert [row["name"] for row in rows] == ["large", "middle", "small", "broken"]
    assert (rows[0]["top1"], rows[0]["top1_low"], rows[0]["latency_p95_ms"]) == ("0.9", str(0.9 - 0.06), "48.0")
    assert (rows[2]["parameters"], rows[2]["training_seconds"]) == ("60000", "12.0")
    assert rows[3]["status"] == "failed"
    assert rows[3]["top1"] == rows[3]["latency_p50_ms"] == ""


def test_markdown_has_sentences_table_and_failures() -> None:
    lines = benchmark_markdown(example()).splitlines()
    assert lines[0] == "# Benchmark on pets"
    assert (
        "| small | 0.790 (0.730 to 0.840) | 1.000 (1.000 to 1.000) | 0.780 (0.720 to 0.830) "
        "| 2 | 500 MB | 60 k | 2.4 M |" in lines
    )
    assert "- broken: the loss is no longer finite in epoch 1, step 3" in lines


def test_without_the_library_there_is_no_page_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "find_spec", {}.get)
    assert [path.name for path in write_benchmark_report(example(), tmp_path)] == ["benchmark.md", "benchmark.csv"]
    assert "pip install 'vision-tasks[report]'" in capsys.readouterr().err


def test_a_page_of_twenty_models_stays_small(tmp_path: Path) -> None:
    record = invented()
    write_pictures(record, tmp_path)
    page = write_benchmark_report(record, tmp_path)[-1]
    assert page.suffix == ".html"
    assert page.stat().st_size < BYTES
    assert "more are in the folder gallery/" in page.read_text()  # all pictures together would not have had room
