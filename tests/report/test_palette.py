"""Colours are seen on both grounds, and no two of many models look the same."""

import re

import pytest

from tests.report.test_page import contrast
from vision_tasks.report.page import asset
from vision_tasks.report.palette import COLOURS, colour, dash, symbol

GROUNDS = re.findall(r"--back: (#\w{6})", asset("page.css"))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("shade", COLOURS)
def test_every_colour_stands_out(shade: str, ground: str) -> None:
    assert len(GROUNDS) == 2
    assert contrast(shade, ground) >= 3


def test_many_models_differ() -> None:
    assert len({(colour(i), symbol(i)) for i in range(64)}) == 64
    assert len({(colour(i), dash(i)) for i in range(40)}) == 40
    assert len({symbol(i) for i in range(8)}) == 8
