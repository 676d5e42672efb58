"""How often predictions of each confidence are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_tasks.report.contender import Contender, having
from vision_tasks.report.figures import Figure, Variant, drawn, plain, rounded
from vision_tasks.report.numbers import score
from vision_tasks.report.page import table

Bins = Mapping[str, Sequence[Any]]  # "images", "confidence", "accuracy": a value a bin


def reliability(contenders: Sequence[Contender]) -> list[str]:
    """One curve a model, of its first seed."""
    known = [(each, found) for each, found in having(contenders, "reliability") if any(found["images"])]
    if not known:
        return []
    traces = [_shares(known[0][1])] if len(known) == 1 else []
    traces += [_curve(each, bins) for each, bins in known]
    layout = {
        "entries": len(traces),
        "xaxis": {"title": {"text": "confidence"}, "range": [0, 1]},
        "yaxis": {"title": {"text": "accuracy"}, "range": [0, 1.02]},
        "shapes": [{"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": {"color": "--faint", "dash": "dot"}}],
    }
    caption = "How often predictions of each confidence are right. Below the dotted line a model claims too much."
    tables = [_table(each, bins, alone=len(known) == 1) for each, bins in known]
    return [drawn(Figure(caption, [Variant("", traces, layout)], tables))]


def _curve(each: Contender, bins: Bins) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(each.name),
        "x": rounded(bins["confidence"]),
        "y": rounded(bins["accuracy"]),
        "text": [f"{images:,} images" for images in bins["images"]],
        "connectgaps": True,
        "line": each.line,
        "marker": each.marker,
        "hovertemplate": "confidence %{x:.3f}, accuracy %{y:.3f}<br>%{text}<extra>%{fullData.name}</extra>",
    }


def _shares(bins: Bins) -> dict[str, Any]:
    """How many images there are of each confidence, behind the curve."""
    count, images = len(bins["images"]), sum(bins["images"])
    return {
        "type": "bar",
        "name": "share of images",
        "x": [round((place + 0.5) / count, 6) for place in range(count)],
        "y": rounded(each / images for each in bins["images"]),
        "width": 1 / count,
        "marker": {"color": "--line"},
        "hovertemplate": "%{y:.1%} of the images<extra></extra>",
    }


def _table(each: Contender, bins: Bins, alone: bool) -> str:
    rows = [
        [f"{images:,}", score(confidence), score(accuracy)]
        for images, confidence, accuracy in zip(*(bins[name] for name in _COLUMNS), strict=True)
        if images
    ]
    return table("Confidence and accuracy" + ("" if alone else f" of {each.name}"), _COLUMNS, rows)


_COLUMNS = ("images", "confidence", "accuracy")
