"""Confidence against accuracy, as a picture (`reliability.png`).

Above, how often predictions of each confidence are right, beside how often they should be: the gap is red where they
claim too much, blue where they claim too little. Below, how many images there are of each confidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 120
_RIGHT, _TOO_SURE, _TOO_SHY = "#4a6fa5", "#d1495b", "#7fb7e6"

Columns = Mapping[str, NDArray[np.float64]]


def write_reliability(
    folder: Path, reliability: Mapping[str, Sequence[Any]], classes: Sequence[str] = ()
) -> list[Path]:
    """Draw bins of equal width, {"images", "confidence", "accuracy": one value a bin}, into `folder`."""
    columns = {name: np.array(values, dtype=np.float64) for name, values in reliability.items()}
    if not columns["images"].sum():
        return []
    picture = folder / "reliability.png"
    with replacing(picture) as temporary:
        _draw(temporary, columns)
    return [picture]


def _draw(path: Path, columns: Columns) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.8), dpi=_DPI)
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_gaps(above, columns)
    _draw_images(below, columns)
    for axes in (above, below):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)


def _draw_gaps(axes: Axes, columns: Columns) -> None:
    left, width = _bins(columns)
    confidence, accuracy = np.nan_to_num(columns["confidence"]), np.nan_to_num(columns["accuracy"])
    axes.bar(left, accuracy, width, align="edge", color=_RIGHT, edgecolor="white", label="right")
    kinds = ((confidence > accuracy, _TOO_SURE, "too sure by"), (confidence < accuracy, _TOO_SHY, "too unsure by"))
    for kind, colour, text in kinds:
        low, gap = np.minimum(confidence, accuracy)[kind], np.abs(confidence - accuracy)[kind]
        axes.bar(left[kind], gap, width, low, align="edge", color=colour, edgecolor="white", label=text)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    share = columns["images"] / columns["images"].sum()
    error = float((share * np.abs(confidence - accuracy)).sum())
    axes.set_title(f"expected calibration error {error:.4f}", fontsize=9, loc="left")
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_images(axes: Axes, columns: Columns) -> None:
    left, width = _bins(columns)
    images = columns["images"]
    axes.bar(left, images / images.sum(), width, align="edge", color="#9a9a9a", edgecolor="white")
    means = {name: float(np.nansum(columns[name] * images) / images.sum()) for name in ("confidence", "accuracy")}
    for (name, mean), style in zip(means.items(), ("-", ":"), strict=True):
        axes.axvline(mean, color="black", linewidth=1.2, linestyle=style, label=f"mean {name} {mean:.3f}")
    axes.set(xlabel="confidence", ylabel="share of images")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _bins(columns: Columns) -> tuple[NDArray[np.float64], float]:
    """Where each bin begins, and how wide it is."""
    count = len(columns["images"])
    return np.arange(count) / count, 1 / count
