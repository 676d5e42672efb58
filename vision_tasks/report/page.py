"""A page for people: one HTML file that needs no network and no script, light or dark, from a phone's width on.

Headings are in order, every table has a caption and header cells, what scrolls can be reached by keyboard, nothing is
said by colour alone (WCAG 2.2, level AA).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --back: #ffffff; --faint: #5a6068; --line: #d5d9de; --plate: #f4f6f8;
  --error: #b3261e; --warning: #8a5300; --note: #1f5fa8; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --back: #16181b; --faint: #a3abb5; --line: #3a4048;
  --plate: #1f2226; --error: #ff8a80; --warning: #ffb74d; --note: #8ab8f5; --link: #8ab4f8 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.25rem; margin-top: 2rem }
a { color: var(--link) } .faint { color: var(--faint) }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal }
caption { text-align: start; padding: .4rem .6rem; color: var(--faint) }
th, td { padding: .3rem .6rem; border-top: 1px solid var(--line); text-align: end; white-space: nowrap }
th { background: var(--plate) } :is(th, td):first-child { text-align: start }
details { margin: .5rem 0; padding: .4rem .7rem; background: var(--plate); border-radius: .4rem }
summary { cursor: pointer } ul { padding-inline-start: 1.2rem }
.error { color: var(--error) } .warning { color: var(--warning) } .note { color: var(--note) }
img { max-width: 100%; height: auto } :focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole document around parts that are HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{text(title)}</h1>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Any text as HTML; bytes of file names that are no text become `?`."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def section(heading: str, parts: Iterable[str]) -> str:
    """A part of the page under a heading of its own."""
    return f"<section>\n<h2>{text(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{text(kind)}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows whose first cell names them; on narrow screens the table scrolls for itself."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    lines = [
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    ]
    return (
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody>\n</table>\n</div>"
    )


def folded(summary: str, items: Sequence[object], more: int = 0) -> str:
    """A list that opens on demand; `summary` is HTML already. `more` items are only counted."""
    rows = [f"<li>{text(item)}</li>" for item in items] + ([f"<li>… and {more} more</li>"] if more else [])
    return f"<details>\n<summary>{summary}</summary>\n<ul>\n" + "\n".join(rows) + "\n</ul>\n</details>"
