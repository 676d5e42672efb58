"""A plot in a page: Plotly's description of it, what it is called, and the same numbers as a table.

A plot may have variants, of which one shows: another cost, another model. Texts in plots that come from data go through
`plain`, for Plotly reads some markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

from vision_tasks.report.page import asset, text, unfolding

MISSING = "for plots, and a page to see them on: pip install 'vision-tasks[report]'"

_LONGEST = 40  # characters of a name in a plot


@dataclass(frozen=True)
class Variant:
    """One view of a figure."""

    name: str  # in the list that chooses it
    data: Sequence[Mapping[str, Any]]  # Plotly's traces
    layout: Mapping[str, Any]  # Plotly's, with `entries` of the legend; page.js adds what all plots share


@dataclass(frozen=True)
class Figure:
    """A plot with its name and its numbers."""

    caption: str
    variants: Sequence[Variant]
    tables: Sequence[str] = ()  # HTML, the same numbers
    choice: str = "Show"  # what the variants are


def can_plot() -> bool:
    """Whether the plotting library is installed."""
    return find_spec("plotly") is not None


def script() -> str:
    """What sorts the tables of a page, and draws its figures."""
    return asset("page.js")


def library() -> str:
    """What the script draws by, for it to run."""
    spec = find_spec("plotly")
    # Found without importing it: that takes a second, and only this file of it is needed.
    assert spec is not None
    assert spec.origin is not None
    plotly = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return plotly.read_text("utf-8").replace("</script", "<\\/script")


def drawn(figure: Figure) -> str:
    """The figure as HTML: choice, plot, caption, and its numbers on demand."""
    views = as_json([{"data": view.data, "layout": view.layout} for view in figure.variants])
    name = f"figure-{crc32((figure.caption + views).encode('utf-8', 'replace')):08x}"
    numbers = [unfolding("The numbers of this figure", figure.tables)] if figure.tables else []
    return "\n".join(
        [
            f'<figure data-plot aria-labelledby="{name}">',
            *_choice(figure),
            f'<div class="plot" role="img" aria-labelledby="{name}"></div>',
            f'<figcaption id="{name}">{text(figure.caption)}</figcaption>',
            f'<script type="application/json">{views}</script>',
            *numbers,
            "</figure>",
        ]
    )


def _choice(figure: Figure) -> Iterable[str]:
    if len(figure.variants) > 1:
        options = "".join(f"<option>{text(view.name)}</option>" for view in figure.variants)
        yield f'<label>{text(figure.choice)} <select autocomplete="off">{options}</select></label>'


def as_json(value: Any) -> str:
    """JSON that can stand in a script element: no text of it ends the element, or a line."""
    written = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(name: object, longest: int = _LONGEST) -> str:
    """A name as Plotly shows it letter by letter, cut in its middle if it is long."""
    words = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    half = longest // 2
    return escape(words if len(words) <= longest else f"{words[:half]}…{words[1 - half :]}", quote=False)


def rounded(values: Iterable[float | int | None]) -> list[float | int | None]:
    """Five digits are more than a plot shows, and a third of the bytes."""
    return [float(f"{value:.5g}") if isinstance(value, float) else value for value in values]


def named_ticks(names: Sequence[str], longest: int = 24) -> dict[str, Any]:
    """An axis of positions 0, 1, ... under names: as categories, two names that are cut to one would be one place."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [plain(name, longest) for name in names],
    }
