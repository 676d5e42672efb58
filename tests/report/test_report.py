"""Which files become of which keys."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vision_tasks.report import WRITERS, write_report
from vision_tasks.report.confusion import per_cent, write_confusion


def test_each_key_has_its_files(tmp_path: Path) -> None:
    metrics = {
        "miou": 0.5,
        "confusion": [[1, 0], [2, 3]],
        "curves": {"a": {"precision": [1.0, 0.5]}},
        "label_errors": [],
    }
    written = write_report(tmp_path, metrics, ("a", "b"))
    names = ["confusion.csv", "confusion.png", "precision_recall.png", "label_errors.csv"]
    assert written == [tmp_path / name for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_scores_alone_have_no_files(tmp_path: Path) -> None:
    assert write_report(tmp_path, {"miou": 0.5}, ("a", "b")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", WRITERS)
def test_every_writer_is_there(key: str) -> None:
    module, name = WRITERS[key]
    assert callable(getattr(import_module(f"vision_tasks.report.{module}"), name))


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1e-9, "<.1"),
        (0.0004, "<.1"),
        (0.0006, "0.1"),
        (0.5, "50.0"),
        (0.97251, "97.3"),
        (0.99999, "99.9"),
        (1.0, "100"),
    ],
)
def test_per_cent(share: float, said: str) -> None:
    assert per_cent(share) == said


@pytest.fixture
def in_cells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pictures that are saved from now on have written into their cells."""
    texts: list[str] = []

    def save(figure: Figure, *given: object, **options: object) -> None:
        texts.extend(text.get_text() for text in figure.axes[0].texts)
        Path(str(given[0])).touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return texts


def test_few_are_drawn_as_counts(tmp_path: Path, in_cells: list[str]) -> None:
    write_confusion(tmp_path, [[3, 1], [0, 99_999]], ["ground", "object"])
    assert in_cells == ["3", "1", "99999"]


def test_pixels_are_drawn_in_per_cent_and_counted_in_the_table(tmp_path: Path, in_cells: list[str]) -> None:
    counts = np.array([[12_345_678, 5], [0, 999_999_999]])
    numbers, _ = write_confusion(tmp_path, counts.tolist(), ["ground", "object"])
    assert in_cells == ["99.9", "<.1", "100"]
    assert numbers.read_text().splitlines()[1:] == ["ground,12345678,5", "object,0,999999999"]
