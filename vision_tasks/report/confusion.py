"""The confusion matrix of images, boxes or pixels as numbers (`confusion.csv`) and as a picture (`confusion.png`).

Rows are truth, columns are predictions. A column beyond the classes, if there is one, is of what nothing was predicted
for; a row beyond them is of predicted boxes where nothing is. The picture is coloured by share of the row, on a
square-root scale: rare confusions are to be seen, too. Its numbers are counts or, where those are too long for their
cells, as of pixels, per cent of the row.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.files import replacing, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING = "(nothing)"  # the column without a prediction, the row without truth

_NUMBERS_UP_TO = 36  # classes, in whose cells counts can still be read
_TICKS = 64  # at most, on each axis
_LONGEST = 5  # digits of a count in a cell
_NAME = 24  # characters of a class name in the picture
_LETTER = 0.08  # inches, about
_DPI = 120


def write_confusion(folder: Path, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[Path]:
    """Write both files into `folder` for counts [K][K], [K][K+1] or [K+1][K+1] of K classes; returns their paths."""
    counts = np.array(confusion, dtype=np.int64)
    rows, columns = ([*classes, NOTHING][:size] for size in counts.shape)
    numbers, picture = folder / "confusion.csv", folder / "confusion.png"
    write_text(numbers, _csv(counts, rows, columns))
    with replacing(picture) as temporary:
        _draw(temporary, counts, rows, columns)
    return [numbers, picture]


def _csv(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["truth \\ predicted", *columns])
    writer.writerows([name, *row] for name, row in zip(rows, counts.tolist(), strict=True))
    return text.getvalue()


def _draw(path: Path, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if columns[-1] == NOTHING and not counts[:, -1].any():
        counts, columns = counts[:, :-1], columns[:-1]
    cell = float(np.clip(0.42 * len(rows), 2.2, 11)) / len(rows)  # inches
    figure = Figure(figsize=(cell * len(columns), cell * len(rows)), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))  # names and scale lie outside, where "tight" finds them
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _paint(figure, axes, shares)
    _name_axes(axes, rows, columns, cell)
    if len(rows) <= _NUMBERS_UP_TO:
        _write_numbers(axes, counts, shares)
    with warnings.catch_warnings(action="ignore"):  # of letters that the font lacks: they become boxes
        figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)


def _paint(figure: Figure, axes: Axes, shares: NDArray[np.float64]) -> None:
    """The cells, white where nothing is, and the scale beside them."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, PowerNorm

    blues = ListedColormap(colormaps["Blues"](np.linspace(0.12, 1, 256))).with_extremes(bad="white")
    cells = np.ma.masked_equal(shares, 0)
    image = axes.imshow(cells, cmap=blues, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    inch = 1 / figure.get_figwidth()
    beside = axes.inset_axes((1 + 0.25 * inch, 0.1, 0.18 * inch, 0.8))
    ticks = [0, 0.01, 0.1, 0.25, 0.5, 1]
    bar = figure.colorbar(image, cax=beside, label="share of the row", ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:.0%}" for tick in ticks], fontsize=8)


def _name_axes(axes: Axes, rows: Sequence[str], columns: Sequence[str], cell: float) -> None:
    step = -(-len(rows) // _TICKS)
    which = f" (1 in {step} is named)" if step > 1 else ""
    axes.set_xlabel(f"predicted{which}")
    axes.set_ylabel(f"truth{which}")
    down, across = (_ticks(names, step) for names in (rows, columns))
    upright = max(len(shown(columns[i])) for i in across) * _LETTER > cell * step
    style: dict[str, Any] = {"fontsize": 8, "parse_math": False}
    axes.set_xticks(across, [shown(columns[i]) for i in across], rotation=90 * upright, **style)
    axes.set_yticks(down, [shown(rows[i]) for i in down], **style)


def _ticks(names: Sequence[str], step: int) -> list[int]:
    """Where names are written: one in `step`, and always what is beyond the classes."""
    classes = len(names) - (names[-1] == NOTHING)
    return [*range(0, classes, step), *range(classes, len(names))]


def shown(name: str) -> str:
    """A class name for the picture: cut in its middle if long, since both ends may tell classes apart."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    half = _NAME // 2
    return plain if len(plain) <= _NAME else f"{plain[:half]}…{plain[1 - half :]}"


def per_cent(share: float) -> str:
    """Of a share in (0, 1]: `<.1`, `0.4`, `97.3` and, only where nothing is left to be 100, `100`."""
    value = 100 * share
    return "<.1" if value < 0.05 else "100" if value == 100 else f"{min(value, 99.9):.1f}"


def _write_numbers(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """What isn't 0, small enough to fit its cell."""
    digits = len(str(counts.max()))
    in_per_cent = digits > _LONGEST
    size = min(8, 28 / (4 if in_per_cent else digits))
    for y, x in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[y, x] > 0.35 else "black"
        number = per_cent(shares[y, x]) if in_per_cent else str(counts[y, x])
        text = axes.text(x, y, number, ha="center", va="center", color=colour, fontsize=size)
        text.set_in_layout(False)  # it lies inside: asking for its place again would cost most of the time
