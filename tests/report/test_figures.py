"""Names that would be markup stay text, in the page and in its plots."""

import base64
import hashlib
import json
import re

import pytest

from tests.report.records import HOSTILE
from tests.report.test_page import Tree
from vision_tasks.report.figures import Figure, Variant, as_json, drawn, library, plain, rounded, script
from vision_tasks.report.page import Cell, page, table


def test_json_in_a_script_ends_neither_the_script_nor_a_line() -> None:
    written = as_json({"name": HOSTILE})
    assert not re.search("[<>&\u2028]", written)
    assert json.loads(written) == {"name": HOSTILE}


def test_a_figure_has_a_name_a_choice_and_its_numbers() -> None:
    variants = [Variant(name, [{"x": [1]}], {}) for name in (HOSTILE, "b")]
    tree = Tree(drawn(Figure(HOSTILE, variants, [table("T", ["x"], [["1"]])], "Cost")))
    assert tree.open == []
    tags = dict(tree.seen)
    assert tags["div"]["class"] == "scroll"
    names = {attributes["aria-labelledby"] for tag, attributes in tree.seen if "aria-labelledby" in attributes}
    assert names == {tags["figcaption"]["id"]}
    assert tree.words.count(HOSTILE) == 2  # the choice and the caption
    assert (tree.count("option"), tree.count("details"), tree.count("img")) == (2, 1, 0)


def test_names_in_plots_are_shown_letter_by_letter() -> None:
    assert plain("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b"
    assert plain("a\nb\u2028c") == "a?b?c"
    assert plain("x" * 30 + "y" * 30, 10) == "xxxxx…yyyy"


def test_numbers_are_shortened_and_gaps_stay() -> None:
    assert rounded([0.123456789, None, 7, 1234567.0]) == [0.12346, None, 7, 1234600.0]


def test_only_the_scripts_of_the_page_may_run() -> None:
    source = page("A", [], "one()", "two()")
    metas = [attributes for tag, attributes in Tree(source).seen if tag == "meta"]
    (policy,) = [meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy"]
    for allowed in ("one()", "two()"):
        assert base64.b64encode(hashlib.sha256(allowed.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in page("A", [])


def test_the_library_is_whole_and_ends_no_script() -> None:
    pytest.importorskip("plotly")
    assert len(library()) > 1_000_000
    assert "</script" not in library() + script()


def test_cells_have_values_to_sort_by_and_swatches() -> None:
    tree = Tree(
        table("T", ["a", "b"], [[Cell("m", swatch="#112233"), Cell("1.5 M", 1_500_000.0)], ["n", Cell("-")]], True)
    )
    assert [attributes["data-value"] for tag, attributes in tree.seen if tag == "td"] == ["1500000", ""]
    assert [attributes["aria-sort"] for tag, attributes in tree.seen if "aria-sort" in attributes] == ["none"] * 2
    assert dict(tree.seen)["span"] == {"class": "swatch", "style": "background:#112233"}
