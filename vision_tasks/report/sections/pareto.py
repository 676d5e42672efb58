"""What quality costs: every model by its score and one of its costs, and those that none is better than in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10
from typing import Any

from vision_tasks.benchmarking.record import Benchmark, Estimate, ModelRecord, Speed
from vision_tasks.report.figures import Figure, Variant, drawn, plain, rounded
from vision_tasks.report.numbers import many, score, short, size
from vision_tasks.report.palette import colour, symbol

_LABELLED = 12  # models whose names fit beside their points
_WIDE = 3  # powers of ten
_FRONT = {"color": "--faint", "width": 1.5}
_BAND = {"color": "--line", "width": 11}

Axis = tuple[str, str, Callable[[ModelRecord], float | None], Callable[[float | None], str]]


def pareto(record: Benchmark) -> list[str]:
    """One figure; a variant for each cost that the record has."""
    variants = [found for axis in _axes(record) if (found := _variant(record, axis))]
    if not variants:
        return []
    caption = (
        f"{record.metric} with its 95 % interval against cost. The line joins the models that none is better than in "
        "both; a broad band joins models that can't be told apart. The table of all models has the numbers."
    )
    return [drawn(Figure(caption, variants, choice="Cost"))]


def speed_of(model: ModelRecord, device: str) -> Speed | None:
    """What is judged by: torch's, on the device."""
    speeds = model.cost.speeds if model.cost else ()
    return next((each for each in speeds if (each.device, each.engine) == (device, "torch")), None)


def latency_of(model: ModelRecord, device: str) -> float | None:
    """The median latency, ms."""
    speed = speed_of(model, device)
    return speed.latency.p50 if speed and speed.latency else None


def memory_of(model: ModelRecord, device: str) -> int | None:
    """Bytes of the device or, on a CPU, of the process."""
    speed = speed_of(model, device)
    return (speed.device_bytes or speed.resident_bytes) if speed else None


def _axes(record: Benchmark) -> list[Axis]:
    device = record.judgement.device
    return [
        ("latency", f"latency on {device}, ms (log scale)", lambda model: latency_of(model, device), short),
        ("memory", f"memory on {device}, bytes (log scale)", lambda model: memory_of(model, device), size),
        ("parameters", "parameters (log scale)", _parameters, many),
        ("multiply-adds", "multiply-adds of an image (log scale)", _multiply_adds, many),
    ]


def _parameters(model: ModelRecord) -> int | None:
    return model.cost.parameters if model.cost else None


def _multiply_adds(model: ModelRecord) -> int | None:
    return model.cost.multiply_adds if model.cost else None


def _variant(record: Benchmark, axis: Axis) -> Variant | None:
    name, title, cost, _ = axis
    places = {
        model.name: (place, float(found), estimate)
        for place, model in enumerate(record.models)
        if (found := cost(model)) and (estimate := _judged(record, model))
    }
    if not places:
        return None
    points = {model: (found, estimate.mean) for model, (_, found, estimate) in places.items()}
    traces = [
        *(_joined(group, points, _BAND) for group in record.judgement.ties),
        *([_joined(front, points, _FRONT)] if (front := record.judgement.pareto.get(name)) else []),
        *(_point(model, *found, axis, few=len(places) <= _LABELLED) for model, found in places.items()),
    ]
    layout = {
        "entries": len(places) if len(places) > _LABELLED else 0,
        "height": 440,
        "xaxis": {
            "type": "log",
            "title": {"text": title},
            "exponentformat": "SI",
            **_log_range([found for _, found, _ in places.values()]),
        },
        "yaxis": {"title": {"text": plain(record.metric)}},
    }
    return Variant(name, traces, layout)


def _judged(record: Benchmark, model: ModelRecord) -> Estimate | None:
    found = model.quality.get(record.metric)
    return found if found and found.mean is not None else None


def _log_range(values: Sequence[float]) -> dict[str, Any]:
    """Room for names beside the points; an axis of less than one power of ten would have hardly any ticks."""
    low, high = log10(min(values)), log10(max(values))
    missing = max(0.0, 1 - (high - low)) / 2
    ticks = "D2" if high - low < _WIDE else 1  # 1, 2, 5, 10, or powers of ten alone
    return {"range": [low - missing - 0.15, high + missing + 0.15], "dtick": ticks}


def _joined(
    names: Sequence[str], points: Mapping[str, tuple[float, float | None]], look: Mapping[str, Any]
) -> dict[str, Any]:
    line = sorted(points[name] for name in names if name in points)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in line],
        "y": [y for _, y in line],
        "line": look,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _point(name: str, place: int, found: float, estimate: Estimate, axis: Axis, few: bool) -> dict[str, Any]:
    mean, low, high = estimate.mean, estimate.low, estimate.high
    assert mean is not None
    interval = "" if low is None or high is None else f" ({score(low)} to {score(high)})"
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers+text" if few else "markers",
        "name": plain(name),
        "x": [found],
        "y": rounded([mean]),
        "text": [plain(name, 28)],
        "textposition": "top center",
        "customdata": [[f"{score(mean)}{interval}", axis[3](found)]],
        "marker": {"color": colour(place), "symbol": symbol(place), "size": 12},
        "hovertemplate": "<b>%{fullData.name}</b><br>%{customdata[0]}<br>"
        + axis[0]
        + " %{customdata[1]}<extra></extra>",
    }
    if low is not None and high is not None:
        trace["error_y"] = {
            "array": rounded([max(0.0, high - mean)]),
            "arrayminus": rounded([max(0.0, mean - low)]),
            "color": colour(place),
            "thickness": 1.2,
            "width": 4,
        }
    return trace
