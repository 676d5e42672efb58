"""The page is one well-formed file that reaches for nothing, and says what everything is to whoever can't see it."""

import re
from html.parser import HTMLParser

from vision_tasks.report.data_check import data_check_page
from vision_tasks.report.page import folded, page, paragraph, section, table

VOID = {"meta", "img", "br"}


class Tree(HTMLParser):
    """Notes tags with attributes and text, and that all that is opened is closed in turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.seen)


def test_parts_are_well_formed_and_words_stay_words() -> None:
    odd = '<b> & "q" \udcff'
    rows = table(odd, ["class", "n"], [[odd, 3], ["b", 4]])
    tree = Tree(page(odd, [section("Part", [paragraph(odd), rows, folded("more", [odd], more=2)])]))
    assert tree.open == []
    shown = '<b> & "q" ?'
    assert tree.words.count(shown) == 6  # title, heading, paragraph, caption, cell, item
    assert "… and 2 more" in tree.words
    scopes = [attributes["scope"] for tag, attributes in tree.seen if tag == "th"]
    assert scopes == ["col", "col", "row", "row"]


def test_the_page_is_whole_and_fit_for_phones_keyboards_and_readers() -> None:
    source = page("A", [table("T", ["x"], [["1"]])])
    tree = Tree(source)
    assert dict(tree.seen)["html"] == {"lang": "en"}
    assert "width=device-width" in source
    assert "prefers-color-scheme: dark" in source
    assert not re.search(r"https?:|url\(|<script|<link", source)
    (region,) = (attributes for tag, attributes in tree.seen if attributes.get("role") == "region")
    assert region["tabindex"] == "0"
    assert region["aria-label"] == "T"
    assert (tree.count("h1"), tree.count("main"), tree.count("caption")) == (1, 1, 1)


def test_only_a_page_with_scripts_says_what_is_missing_without_them() -> None:
    assert "<noscript>" not in page("A", ["<p>B</p>"])
    with_scripts = page("A", ["<p>B</p>"], "let a = 1")
    assert with_scripts.index("<noscript>") < with_scripts.index("<p>B</p>")


def contrast(one: str, other: str) -> float:
    """Of WCAG 2.2, 1.4.3, for #rrggbb."""
    lights = []
    for colour in (one, other):
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_all_text_has_enough_contrast_in_both_modes() -> None:
    blocks = re.findall(r":root \{(.*?)\}", page("A", []), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for name in ("text", "faint", "error", "warning", "note", "link"):
            for ground in ("back", "plate"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def test_a_check_lists_its_findings_by_severity_and_its_classes() -> None:
    finding = {
        "kind": "k",
        "severity": "error",
        "what": "broken files",
        "count": 250,
        "places": [f"p{i}" for i in range(250)],
    }
    note = {"kind": "n", "severity": "note", "what": "alpha says nothing", "count": 0, "places": []}
    record = {
        "path": "/x/cats", "format": "coco", "images": 1200, "pixels": False, "splits": {"train": 1200},
        "healthy": False, "findings": [finding, note],
        "classes": [{"name": "cat", "count": {"train": 3000}, "images": {"train": 1100}}],
    }  # fmt: skip
    tree = Tree(data_check_page(record))
    words = "".join(tree.words)
    assert "Data check of cats" in words
    assert "broken files: 250" in words
    assert "… and 50 more" in words
    assert words.index("Errors") < words.index("Notes") < words.index("Classes")
    assert "3,000" in words
    assert "without decoding any pixels" in words
    assert tree.count("details") == 1
