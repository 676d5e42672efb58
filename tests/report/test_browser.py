"""The pages in a real browser: nothing on the console, nothing asked for, and everything works that can be used."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.report.records import (
    BOXES,
    HOSTILE,
    with_hostile_names,
    write_benchmark_folder,
    write_evaluation,
    write_training,
)
from vision_tasks.report.benchmark import write_benchmark_report
from vision_tasks.report.data_check import data_check_page
from vision_tasks.report.model_page import write_model_page

CHECK = {
    "path": "/x/cats", "format": "coco", "images": 12, "pixels": True, "splits": {"train": 12}, "healthy": False,
    "findings": [{"kind": "k", "severity": "error", "what": "broken", "count": 1, "places": ["a" * 300]}],
    "classes": [{"name": "cat" * 40, "count": {"train": 3}, "images": {"train": 2}}],
}  # fmt: skip


def write_check(folder: Path) -> Path:
    path = folder / "check.html"
    path.write_text(data_check_page(CHECK))
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    record = write_benchmark_folder(folder)
    evaluated = write_model_page(write_evaluation(folder / "scored", BOXES))
    trained = write_model_page(write_training(folder / "run"))
    assert evaluated is not None
    assert trained is not None
    benchmark = write_benchmark_report(record, folder)[-1]
    return {"benchmark": benchmark, "evaluate": evaluated, "train": trained, "check": write_check(folder)}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1100, "light")])
@pytest.mark.parametrize("name", ["benchmark", "evaluate", "train", "check"])
def test_pages_are_quiet_whole_and_fit(
    name: str, width: int, scheme: str, pages: dict[str, Path], open_page: Callable[..., Any]
) -> None:
    opened = open_page(pages[name], width, scheme)
    opened.draw_all()
    page = opened.page
    assert opened.said == []
    assert opened.asked == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("figure[data-plot]:not([data-drawn])").count() == 0
    assert page.locator("img[data-source]").count() == 0
    for image in page.locator("img").all():
        image.evaluate("e => e.decode()")  # fails for a broken one
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def names_in(table: Any) -> list[str]:
    return list(table.locator("tbody th").all_inner_texts())


def test_tables_sort_by_click_and_by_keyboard(pages: dict[str, Path], open_page: Callable[..., Any]) -> None:
    page = open_page(pages["benchmark"]).page
    table = page.locator("#all-models table").first
    header = table.get_by_role("columnheader", name="top1")
    assert names_in(table) == ["large", "middle", "small"]
    header.get_by_role("button").click()
    assert names_in(table) == ["small", "middle", "large"]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert names_in(table) == ["large", "middle", "small"]
    assert header.get_attribute("aria-sort") == "descending"
    other = table.get_by_role("columnheader", name="parameters")
    other.get_by_role("button").focus()
    page.keyboard.press("Space")
    assert names_in(table) == ["small", "middle", "large"]  # 60,000, 4 and 25 millions: numbers, not words
    assert header.get_attribute("aria-sort") == "none"


def test_a_point_tells_what_it_is_and_the_cost_can_be_chosen(
    pages: dict[str, Path], open_page: Callable[..., Any]
) -> None:
    page = open_page(pages["benchmark"]).page
    figure = page.locator("#quality-and-cost figure")
    page.wait_for_selector("#quality-and-cost .points path")
    box = figure.locator(".points path").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = figure.locator(".hoverlayer .hovertext")
    tip.wait_for()
    said = tip.text_content()  # of SVG there is no inner text
    assert "small" in said
    assert "0.790 (0.730 to 0.840)" in said
    figure.get_by_role("combobox", name="Cost").select_option("memory")
    assert "memory on cpu" in figure.locator(".xtitle").text_content()


def test_plots_follow_the_colours_of_the_page(pages: dict[str, Path], open_page: Callable[..., Any]) -> None:
    from playwright.sync_api import expect  # which may be absent: then there is no `open_page`

    page = open_page(pages["benchmark"]).page
    title = page.locator("#quality-and-cost .xtitle")
    title.wait_for()
    dark_on_light = title.evaluate("e => getComputedStyle(e).fill")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#quality-and-cost .xtitle")).to_have_css("fill", "rgb(230, 232, 235)")
    assert dark_on_light != "rgb(230, 232, 235)"


def test_names_stay_names(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    page_file = write_benchmark_report(with_hostile_names(), tmp_path)[-1]
    opened = open_page(page_file)
    opened.draw_all()
    assert opened.said == []
    assert opened.asked == []
    page = opened.page
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("#all-models tbody th").first.text_content() == HOSTILE
    shown = page.locator("#quality-and-cost .textpoint").all_text_contents()
    assert any(words.startswith("</script><img") for words in shown), shown
