"""What a page knows of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_tasks.report.page import Cell
from vision_tasks.report.palette import colour, dash, symbol


@dataclass(frozen=True)
class Contender:
    """One model: what was measured, of each of its seeds."""

    name: str
    place: int  # among all models, which gives it its colour
    metrics: Sequence[Mapping[str, Any]] = ()  # a metrics.json each
    curves: Sequence[Sequence[Mapping[str, Any]]] = ()  # the lines of a metrics.jsonl each

    @property
    def cell(self) -> Cell:
        """Its name in a table, with its colour."""
        return Cell(self.name, swatch=colour(self.place))

    @property
    def marker(self) -> dict[str, Any]:
        """Plotly's, of a point."""
        return {"color": colour(self.place), "symbol": symbol(self.place), "size": 9}

    @property
    def line(self) -> dict[str, Any]:
        """Plotly's, of a curve."""
        return {"color": colour(self.place), "dash": dash(self.place), "width": 2}

    def first(self, key: str) -> Any:
        """What `metrics.json` of the first seed holds under `key`; None if nothing."""
        return self.metrics[0].get(key) if self.metrics else None

    def all_of(self, key: str) -> list[Any]:
        """What those of all seeds hold under `key`."""
        return [found for metrics in self.metrics if (found := metrics.get(key))]


def having(contenders: Sequence[Contender], key: str) -> Iterator[tuple[Contender, Any]]:
    """The models whose first seed has something under `key`, and that."""
    return ((each, found) for each in contenders if (found := each.first(key)))
