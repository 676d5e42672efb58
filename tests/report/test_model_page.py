"""The page of one model shows what lies in its folder, and never ends a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.records import BOXES, write_evaluation, write_training
from tests.report.test_benchmark import headings
from tests.report.test_page import Tree
from vision_tasks.report import figures
from vision_tasks.report.model_page import model_page, write_model_page


def test_an_evaluation_has_its_scores_and_errors(tmp_path: Path) -> None:
    source = model_page(write_evaluation(tmp_path / "scored", BOXES))
    tree = Tree(source)
    assert tree.open == []
    assert headings(source) == [
        "Scores", "Classes", "Confusion", "Precision and recall", "Kinds of error", "Truth that is probably wrong",
        "Left out",
    ]  # fmt: skip
    for words in ("0.450", "0.400 to 0.500", "missing label", "it is cut short", "Evaluation: scored"):
        assert words in tree.words


def test_a_training_has_its_curves_and_settings(tmp_path: Path) -> None:
    source = model_page(write_training(tmp_path / "run"))
    assert headings(source) == ["Learning curves", "How it was made"]
    assert '"x":[1,3],"y":[0.1,0.3]' in source  # the second epoch was not validated
    assert "model = &quot;yolo11n&quot;" in source


def test_what_cannot_be_read_is_said_and_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_training(tmp_path / "run")
    (folder / "metrics.jsonl").write_text("{torn")
    assert write_model_page(folder) is None
    assert "report.html can't be written: JSONDecodeError" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_without_the_library_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "find_spec", {}.get)
    assert write_model_page(write_training(tmp_path / "run")) is None
    assert "vision-tasks[report]" in capsys.readouterr().err


def test_only_one_of_several_processes_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    folder = write_training(tmp_path / "run")
    assert write_model_page(folder) is None
    assert not (folder / "report.html").exists()
