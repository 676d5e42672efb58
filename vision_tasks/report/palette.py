"""What tells models apart in plots: the same colour, symbol and dash everywhere, by the model's place in the record.

The colours are close to those of Okabe and Ito (Color Universal Design, 2008), which people who confuse some colours
can tell apart, made as dark as is needed to stand out from white and from black by 3 : 1 (WCAG 2.2, 1.4.11).
"""

from __future__ import annotations

COLOURS = ("#2c7fc4", "#d55e00", "#008f68", "#b5609c", "#9a7d0a", "#7b70d8", "#0e90a8", "#83898f")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def colour(place: int) -> str:
    """#rrggbb of the model at `place`, from 0."""
    return COLOURS[place % len(COLOURS)]


def symbol(place: int) -> str:
    """Plotly's name; with the colour it tells 64 models apart."""
    return SYMBOLS[(place + place // len(COLOURS)) % len(SYMBOLS)]


def dash(place: int) -> str:
    """Plotly's name; with the colour it tells 40 lines apart."""
    return DASHES[place // len(COLOURS) % len(DASHES)]
