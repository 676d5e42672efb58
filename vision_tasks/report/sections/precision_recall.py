"""Precision against recall at an IoU of 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_tasks.report.contender import Contender, having
from vision_tasks.report.figures import Figure, Variant, drawn, plain, rounded
from vision_tasks.report.numbers import mean_of, score
from vision_tasks.report.page import table

_CHOICES = 100  # classes to choose from, at most
_AT_ONCE = 10  # classes of one model that are drawn together
_MEAN = "mean of all classes"
_EVERY = "every class"

Curves = Mapping[str, Mapping[str, Sequence[float]]]  # class -> "precision", "confidence" at recall 0, 0.01, ... 1
Line = tuple[Contender, str, Sequence[float | None]]  # whose look, under which name, precision


def precision_recall(contenders: Sequence[Contender]) -> list[str]:
    """A curve a model, of its first seed; of one model a curve a class."""
    known: list[tuple[Contender, Curves]] = [*having(contenders, "curves")]
    if not known:
        return []
    classes = list(dict.fromkeys(name for _, curves in known for name in curves))
    views: dict[str, list[Line]] = {}
    if len(classes) > 1:
        views[_MEAN] = [(each, each.name, _mean(curves)) for each, curves in known]
    if len(known) == 1 and 1 < len(classes) <= _AT_ONCE:
        views = {_EVERY: _of_classes(known[0][1])} | views
    for name in classes[:_CHOICES]:
        views[name] = [(each, each.name, curves[name]["precision"]) for each, curves in known if name in curves]
    caption = "Precision (the best at that recall or beyond) against recall; IoU 0.5."
    variants = [_variant(name, lines) for name, lines in views.items()]
    return [drawn(Figure(caption, variants, [_table(*next(iter(views.items())))], "Curves of"))]


def _mean(curves: Curves) -> list[float | None]:
    return [mean_of(values) for values in zip(*(each["precision"] for each in curves.values()), strict=True)]


def _of_classes(curves: Curves) -> list[Line]:
    return [(Contender(name, place), name, each["precision"]) for place, (name, each) in enumerate(curves.items())]


def _variant(name: str, lines: Sequence[Line]) -> Variant:
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": plain(label),
            "x0": 0,
            "dx": 1 / (len(precision) - 1),
            "y": rounded(precision),
            "line": look.line,
            "hovertemplate": "recall %{x:.2f}, precision %{y:.3f}<extra>%{fullData.name}</extra>",
        }
        for look, label, precision in lines
    ]
    layout = {
        "entries": len(lines),
        "xaxis": {"title": {"text": "recall"}, "range": [0, 1]},
        "yaxis": {"title": {"text": "precision"}, "range": [0, 1.02]},
    }
    return Variant(name, traces, layout)


def _table(name: str, lines: Sequence[Line]) -> str:
    places = range(0, 101, 10)
    rows = [[f"{place / 100:.1f}", *(score(precision[place]) for _, _, precision in lines)] for place in places]
    return table(f"Precision at every tenth of recall: {name}", ["recall", *(label for _, label, _ in lines)], rows)
