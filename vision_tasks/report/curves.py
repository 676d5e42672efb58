"""Precision against recall of each class at IoU 0.5, as a picture (`precision_recall.png`).

Up to ten classes have a colour and a name each, the best first; more than that are thin lines, coloured by their
average precision, beside a list of the best and the worst. The mean of all classes is black.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.files import replacing
from vision_tasks.report.confusion import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, Mapping[str, Sequence[float]]]

_NAMED = 10  # classes that can be told apart by colour
_LISTED = 6  # of many classes, at each end
_DPI = 120


def write_curves(folder: Path, curves: Curves, classes: Sequence[str] = ()) -> list[Path]:
    """Draw {class: {"precision": [101]}}, at recall 0 to 1, into `folder`; without curves there is no picture."""
    if not curves:
        return []
    picture = folder / "precision_recall.png"
    names = list(curves)
    with replacing(picture) as temporary:
        _draw(temporary, names, np.array([curves[name]["precision"] for name in names]))
    return [picture]


def _draw(path: Path, names: Sequence[str], precision: NDArray[np.float64]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    best_first = np.argsort(-precision.mean(axis=1), kind="stable")
    names, precision = [names[i] for i in best_first], precision[best_first]
    (_few if len(names) <= _NAMED else _many)(axes, names, precision)
    _finish(axes)
    with warnings.catch_warnings(action="ignore"):  # of letters that the font lacks: they become boxes
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)


def _few(axes: Axes, names: Sequence[str], precision: NDArray[np.float64]) -> None:
    from matplotlib import colormaps

    recall = np.linspace(0, 1, precision.shape[1])
    for i, row in enumerate(precision):
        axes.plot(recall, row, color=colormaps["tab10"](i), linewidth=1.6)
    lines = list(axes.lines)
    if len(names) > 1:
        lines = [_mean(axes, recall, precision, below=True), *lines]
    labels = [_entry(*pair) for pair in zip(names, precision, strict=True)]
    _legend(axes, lines, [*([_entry("all classes", precision)] if len(names) > 1 else []), *labels])


def _many(axes: Axes, names: Sequence[str], precision: NDArray[np.float64]) -> None:
    from matplotlib import colormaps

    recall, average = np.linspace(0, 1, precision.shape[1]), precision.mean(axis=1)
    for row, value in zip(precision, average, strict=True):
        axes.plot(recall, row, color=colormaps["viridis"](0.95 * value), linewidth=0.8, alpha=0.6)
    lines = list(axes.lines)
    ends = [*range(_LISTED), *range(max(_LISTED, len(names) - _LISTED), len(names))]
    handles = [_mean(axes, recall, precision), *(lines[i] for i in ends)]
    labels = [_entry(f"all {len(names)} classes", precision), *(_entry(names[i], precision[i]) for i in ends)]
    hidden = len(names) - len(ends)
    if hidden:
        between = axes.plot([], [], linestyle="none")[0]
        handles.insert(1 + _LISTED, between)
        labels.insert(1 + _LISTED, f"… {hidden} more …")
    _legend(axes, handles, labels)


def _mean(axes: Axes, recall: NDArray[np.float64], precision: NDArray[np.float64], *, below: bool = False) -> Any:
    zorder = 1.9 if below else 2.1  # of other lines: 2
    return axes.plot(recall, precision.mean(axis=0), color="black", linewidth=2.6, zorder=zorder)[0]


def _entry(name: str, precision: NDArray[np.float64]) -> str:
    return f"{precision.mean():.3f}  {shown(name)}"


def _legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    legend = axes.legend(
        handles,
        labels,
        title="average precision",
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        frameon=False,
    )
    for handle in legend.get_lines():
        handle.set(alpha=1, linewidth=2.2)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _finish(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision (best at that recall or beyond)")
    axes.set_title("IoU 0.5", fontsize=9, loc="left")
    axes.set_xticks(np.linspace(0, 1, 11), minor=True)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
