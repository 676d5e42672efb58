"""What each kind of error costs.

TIDE: Bolya et al., A General Toolbox for Identifying Object Detection Errors, ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

from vision_tasks.report.contender import Contender
from vision_tasks.report.figures import Figure, Variant, drawn, plain, rounded
from vision_tasks.report.numbers import mean_of, score_cell
from vision_tasks.report.page import table


def error_kinds(contenders: Sequence[Contender]) -> list[str]:
    """Bars by kind, the mean over seeds."""
    known = [(each, found) for each in contenders if (found := each.all_of("errors"))]
    if not known:
        return []
    kinds = [*known[0][1][0]]
    means = [
        (each, [mean_of([errors[kind]["map_50_cost"] for errors in found]) for kind in kinds]) for each, found in known
    ]
    traces = [
        {
            "type": "bar",
            "name": plain(each.name),
            "x": [plain(kind) for kind in kinds],
            "y": rounded(values),
            "marker": {"color": each.marker["color"]},
            "hovertemplate": "%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
        }
        for each, values in means
    ]
    layout = {
        "entries": len(traces),
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": "average precision that is lost"}},
    }
    rows = [[each.cell, *map(score_cell, values)] for each, values in means]
    numbers = table("Average precision at IoU 0.5 that is lost to each kind of error", ["model", *kinds], rows)
    caption = "What mending all errors of one kind would add to the average precision at IoU 0.5."
    return [drawn(Figure(caption, [Variant("", traces, layout)], [numbers]))]
