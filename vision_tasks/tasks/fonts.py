"""Fonts in which names of classes can be read, whatever script they are in: none becomes a row of empty boxes.

ASCII is in Pillow's own font. Other texts are in DejaVu Sans, which comes with matplotlib (Latin, Greek, Cyrillic,
Arabic, many symbols), else in the first font of the machine that has all of their characters. Scripts that are written
from the right need Pillow's layout by Raqm, too: without it their letters stand alone and in the wrong order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_ASCII = frozenset(range(0x20, 0x7F))  # scores stand beside names
_FROM_THE_RIGHT = ("R", "AL")  # bidirectional types of Unicode's annex 9


def font_of(text: str, height: int) -> Font:
    """The font for `text`, `height` pixels high; Pillow's own where none has all of its characters."""
    return _sized(None if text.isascii() else _file_with(_beyond_ascii(text)), height)


def drawable(classes: Sequence[str]) -> tuple[str, ...]:
    """`classes` on one line each, as they can be drawn: `class 7` for the one of number 7 that no font can write."""
    without = set(unwritable(classes))
    return tuple(f"class {i}" if name in without else " ".join(name.split()) for i, name in enumerate(classes))


def unwritable(classes: Sequence[str]) -> list[str]:
    """Those of `classes` with characters that no font here has."""
    return [name for name in classes if not name.isascii() and _file_with(_beyond_ascii(name)) is None]


def _beyond_ascii(text: str) -> str:
    return "".join(sorted({character for character in text if not character.isascii()}))


@cache
def _sized(file: Path | None, height: int) -> Font:
    return ImageFont.load_default(height) if file is None else ImageFont.truetype(file, height)


@cache
def _file_with(characters: str) -> Path | None:
    """The first font that has all `characters`, and ASCII."""
    from_the_right = any(unicodedata.bidirectional(character) in _FROM_THE_RIGHT for character in characters)
    if from_the_right and not features.check_feature("raqm"):
        return None
    needed = _ASCII | set(map(ord, characters))
    return next((file for file in _files() if needed <= _characters_of(file)), None)


def _files() -> Iterator[Path]:
    """Fonts, the preferred first; those of the machine are listed only when they are asked for."""
    import matplotlib as mpl

    own = Path(mpl.get_data_path()).resolve()
    yield own / "fonts" / "ttf" / "DejaVuSans.ttf"
    from matplotlib import font_manager

    entries = font_manager.fontManager.ttflist
    upright_first = sorted(entries, key=lambda each: (each.style != "normal", each.weight not in (400, "normal")))
    for file in dict.fromkeys(Path(each.fname) for each in upright_first):
        # matplotlib's others are for formulas. A font of last resort has a box for every character there is.
        if not file.resolve().is_relative_to(own) and not file.name.startswith("LastResort"):
            yield file


@cache
def _characters_of(file: Path) -> frozenset[int]:
    """Code points of the font's glyphs; none for a font of bitmaps, or one that can't be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(file))
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
