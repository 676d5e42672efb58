"""How models got better: scores, losses and pace by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vision_tasks.report.contender import Contender
from vision_tasks.report.figures import Figure, Variant, drawn, plain, rounded
from vision_tasks.report.numbers import short_cell
from vision_tasks.report.page import table

_NO_SCORES = ("loss", "lr", "train_", "data_wait")
_NOT_SHOWN = ("epoch", "train_images")
_FEW = 25  # points that a line is drawn with

Run = tuple[str, Contender, Sequence[Mapping[str, Any]]]


def learning_curves(contenders: Sequence[Contender], first: str = "") -> list[str]:
    """Two figures; the score `first` shows before others."""
    runs = [*_runs(contenders)]
    keys = list(dict.fromkeys(key for _, _, lines in runs for key in _numbers(lines)))
    scores = sorted((key for key in keys if not key.startswith(_NO_SCORES)), key=lambda key: key != first)
    others = [key for key in keys if key.startswith(_NO_SCORES) and key not in _NOT_SHOWN]
    return [
        drawn(Figure(f"{what} by epoch.", [_variant(key, runs) for key in group], [_table(group, runs)], "Curve of"))
        for what, group in (("Scores of the validation images", scores), ("Loss and pace of the training", others))
        if group
    ]


def _runs(contenders: Sequence[Contender]) -> Iterator[Run]:
    for each in contenders:
        for number, lines in enumerate(each.curves, 1):
            yield (each.name if len(each.curves) == 1 else f"{each.name} ({number})"), each, lines


def _numbers(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of an epoch that have numbers."""
    found = [key for line in lines for key, value in line.items() if isinstance(value, int | float)]
    return [key for key in dict.fromkeys(found) if key not in _NOT_SHOWN]


def _variant(key: str, runs: Sequence[Run]) -> Variant:
    traces = []
    for name, each, lines in runs:
        known = [line for line in lines if line.get(key) is not None]  # not every epoch is validated
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(known) < _FEW else "lines",
                "name": plain(each.name),
                "legendgroup": str(each.place),
                "showlegend": lines is each.curves[0],
                "x": [line["epoch"] + 1 for line in known],
                "y": rounded(line[key] for line in known),
                "line": each.line,
                "marker": each.marker | {"size": 5},
                "hovertemplate": "%{text}<br>epoch %{x}: %{y:.4g}<extra></extra>",
                "text": plain(name),
            }
        )
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": plain(key)}}}
    return Variant(key, traces, layout | {"entries": len({each.place for _, each, _ in runs})})


def _table(keys: Sequence[str], runs: Sequence[Run]) -> str:
    """All curves of one run, or the first of all runs."""
    if len(runs) == 1:
        lines = runs[0][2]
        rows = [[str(line["epoch"] + 1), *(short_cell(line.get(key)) for key in keys)] for line in lines]
        return table("All numbers by epoch", ["epoch", *keys], rows)
    by_epoch = [{line["epoch"]: line.get(keys[0]) for line in lines} for _, _, lines in runs]
    epochs = sorted({epoch for curve in by_epoch for epoch in curve})
    rows = [[str(epoch + 1), *(short_cell(curve.get(epoch)) for curve in by_epoch)] for epoch in epochs]
    return table(f"{keys[0]} by epoch", ["epoch", *(name for name, _, _ in runs)], rows)
