"""A page for people: one HTML file that needs no network, light or dark, from a phone's width on.

Headings are in order, every table has a caption and header cells, what scrolls can be reached by keyboard, nothing is
said by colour alone (WCAG 2.2, level AA). Whatever comes from data is text: names can't become markup, and a content
security policy lets nothing run but the page's own scripts, known by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

_WITHOUT_SCRIPTS = "Plots need JavaScript, which is off here; the tables beside them hold the same numbers."


@dataclass(frozen=True)
class Cell:
    """A cell of a table that says more than its words."""

    words: str
    value: float | None = None  # what it is sorted by; None comes last
    swatch: str = ""  # #rrggbb of what it names


@dataclass(frozen=True)
class Words:
    """A cell of a table that holds a sentence, which may need several lines."""

    words: str


def page(title: str, body: Iterable[str], script: str = "", library: str = "") -> str:
    """The whole document around parts that are HTML already; `script` is run at its end.

    It runs the `library` when it wants to, by an element of its own: a large one takes a second before it can be used.
    """
    parts = "\n".join(body)
    run = f'\n<script id="library" type="text/plain">{library}</script>' if library else ""
    run += f"\n<script>{script}</script>" if script else ""
    without = f"<noscript><p>{_WITHOUT_SCRIPTS}</p></noscript>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(library, script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{asset('page.css')}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#content">Skip to the content</a>\n<header>\n<h1>{text(title)}</h1>\n'
        f'{_contents(parts)}</header>\n<main id="content" tabindex="-1">\n{without}{parts}\n</main>'
        f"{run}\n</body>\n</html>\n"
    )


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts if script) or "'none'"
    # Plotly writes its styles while it draws; it makes pictures of plots as data and blobs.
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {hashes}; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def asset(name: str) -> str:
    """The text of a file that is part of every page."""
    return (files("vision_tasks.report") / "assets" / name).read_text("utf-8")


def _contents(parts: str) -> str:
    """Links to the sections, where there are enough of them to look for one."""
    found = re.findall(r'<section id="([^"]*)">\n<h2>(.*?)</h2>', parts)
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading in found)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n' if len(found) > 2 else ""


def text(value: object) -> str:
    """Any text as HTML; bytes of file names that are no text become `?`."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def section(heading: str, parts: Iterable[str]) -> str:
    """A part of the page under a heading of its own."""
    name = re.sub(r"\W+", "-", heading.lower(), flags=re.ASCII).strip("-")
    return f'<section id="{name}">\n<h2>{text(heading)}</h2>\n' + "\n".join(parts) + "\n</section>"


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{text(kind)}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def listed(items: Iterable[object], kind: str = "") -> str:
    """A list of sentences."""
    return f'<ul class="{text(kind)}">' + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names and what belongs to them."""
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows) + "</dl>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], sortable: bool = False) -> str:
    """Rows whose first cell names them; on narrow screens the table scrolls for itself."""
    head = "".join(_header_cell(name, sortable) for name in header)
    lines = ["".join(_cell(cell, is_name=not i) for i, cell in enumerate(row)) for row in rows]
    return (
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(f"<tr>{line}</tr>" for line in lines)
        + "\n</tbody>\n</table>\n</div>"
    )


def _header_cell(name: str, sortable: bool) -> str:
    if not sortable:
        return f'<th scope="col">{text(name)}</th>'
    return f'<th scope="col" aria-sort="none"><button type="button">{text(name)}</button></th>'


def _cell(cell: object, is_name: bool) -> str:
    tag, attributes, inner = ("th", ' scope="row"', "") if is_name else ("td", "", "")
    if isinstance(cell, Cell):
        inner = f'<span class="swatch" style="background:{cell.swatch}"></span>' if cell.swatch else ""
        attributes += "" if is_name else f' data-value="{"" if cell.value is None else format(cell.value, ".9g")}"'
    elif isinstance(cell, Words):
        attributes += ' class="words"'
    words = cell.words if isinstance(cell, Cell | Words) else cell
    return f"<{tag}{attributes}>{inner}{text(words)}</{tag}>"


def folded(summary: str, items: Sequence[object], more: int = 0) -> str:
    """A list that opens on demand; `summary` is HTML already. `more` items are only counted."""
    rows = [f"<li>{text(item)}</li>" for item in items] + ([f"<li>… and {more} more</li>"] if more else [])
    return unfolding(summary, ["<ul>\n" + "\n".join(rows) + "\n</ul>"])


def unfolding(summary: str, parts: Iterable[str]) -> str:
    """Parts that show on demand; all of this is HTML already."""
    return f"<details>\n<summary>{summary}</summary>\n" + "\n".join(parts) + "\n</details>"
