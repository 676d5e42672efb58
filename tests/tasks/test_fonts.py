"""No name is drawn as empty boxes: what a font can write is judged by fontTools, and by the pixels that come out."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from matplotlib import font_manager, get_data_path
from PIL import ImageFont, features

from vision_tasks.tasks import fonts
from vision_tasks.tasks.drawing import boxes_on, caption, class_colour
from vision_tasks.tasks.fonts import drawable, font_of, unwritable

DEJAVU = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
LAST_RESORT = DEJAVU.with_name("LastResortHE-Regular.ttf")
GREY = np.full((300, 400, 3), 128, np.uint8)
NOWHERE = "\U000f1234"  # of the private use area: no font should have it
IN_DEJAVU = ["Кошка", "γάτα", "łódź", "İğne", "Việt", "😀 ☺", "½ °C"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What one test makes of the machine's fonts is not kept for another."""
    fonts._file_with.cache_clear()
    yield
    fonts._file_with.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, *files: Path, style: str = "normal", weight: int = 400) -> None:
    """The machine has these fonts only, beside what matplotlib brings."""
    entries = [SimpleNamespace(fname=str(file), style=style, weight=weight) for file in files]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)


def tiny_font(path: Path, characters: str) -> Path:
    """A font in which every character is a bar."""
    pen = TTGlyphPen(None)
    for point, move in (((100, 0), pen.moveTo), ((100, 700), pen.lineTo), ((400, 700), pen.lineTo)):
        move(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "bar"])
    builder.setupCharacterMap({ord(character): "bar" for character in characters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "bar": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "bar": (500, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Tiny", "styleName": path.stem})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


ASCII = "".join(map(chr, range(0x20, 0x7F)))


def test_ascii_stays_in_pillows_own_font() -> None:
    own = ImageFont.load_default(20)
    assert isinstance(own, ImageFont.FreeTypeFont)
    assert font_of("ship 0.90", 20).getname() == own.getname()
    assert font_of("ship 0.90", 20) is font_of("boat 0.10", 20)
    assert font_of("ship", 20).getbbox("ship") == own.getbbox("ship")


@pytest.mark.parametrize("text", IN_DEJAVU)
def test_other_texts_are_in_a_font_that_has_all_their_characters(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    font = font_of(f"{text} 0.93", 20)
    assert DEJAVU.samefile(font.path)
    known = TTFont(DEJAVU).getBestCmap()
    assert all(ord(character) in known for character in text)
    box = bytes(font.getmask(NOWHERE))
    for character in text.replace(" ", ""):
        assert bytes(font.getmask(character)) != box, "drawn as what is drawn for no character"
    assert unwritable([text]) == []


def test_arabic_needs_a_layout_from_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    for able, shown in ((True, "قطة"), (False, "class 0")):
        monkeypatch.setattr(features, "check_feature", lambda _, able=able: able)
        fonts._file_with.cache_clear()
        assert drawable(["قطة"]) == (shown,)


def test_what_no_font_has_is_shown_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert drawable(["ship", "猫", "Кошка", NOWHERE]) == ("ship", "class 1", "Кошка", "class 3")
    assert unwritable(["ship", "猫", "Кошка", NOWHERE]) == ["猫", NOWHERE]


def test_a_font_of_the_machine_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cats, lacking = tiny_font(tmp_path / "a.ttf", ASCII + "猫"), tiny_font(tmp_path / "b.ttf", "猫犬")
    installed(monkeypatch, lacking, cats)
    assert Path(font_of("猫 0.5", 20).path) == cats
    assert drawable(["猫", "犬"]) == ("猫", "class 1"), "the font of dogs has no digits for their scores"


def test_upright_fonts_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slanted, upright = tiny_font(tmp_path / "a.ttf", ASCII + "猫"), tiny_font(tmp_path / "b.ttf", ASCII + "猫")
    entries = [(slanted, "italic", 400), (slanted, "normal", 700), (upright, "normal", 400)]
    listed = [SimpleNamespace(fname=str(file), style=style, weight=weight) for file, style, weight in entries]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    assert Path(font_of("猫", 20).path) == upright


def test_files_that_are_no_fonts_and_fonts_of_boxes_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.ttf").write_text("no font")
    (tmp_path / "LastResort.otf").write_bytes(LAST_RESORT.read_bytes())
    assert ord("猫") in TTFont(LAST_RESORT).getBestCmap(), "or this test tests nothing"
    installed(monkeypatch, tmp_path / "broken.ttf", tmp_path / "gone.ttf", LAST_RESORT, tmp_path / "LastResort.otf")
    assert drawable(["猫"]) == ("class 0",)


def test_names_of_several_lines_are_drawn_on_one() -> None:
    assert drawable(["a\nb", "c\td"]) == ("a b", "c d")


@pytest.mark.parametrize("names", [("Кошка", "Жирафы"), ("γάτα", "ζώον")])
def test_labels_and_captions_show_the_letters(names: tuple[str, str]) -> None:
    """As empty boxes, or in a font without them, words of equal length would look alike."""
    one, other = (boxes_on(GREY, [((50, 100, 250, 200), 1, f"{name} 0.90")], names) for name in names)
    colour = np.array(class_colour(1))
    assert ((one[:100] == colour).all(axis=2) | (one[:100] == 0).all(axis=2)).any()
    width = min(len(names[0]), len(names[1])) * 6
    assert (one[80:100, 50 : 50 + width] != other[80:100, 50 : 50 + width]).any()
    assert caption(GREY, [names[0]]).shape[0] > 300


def test_letters_stay_on_their_plates() -> None:
    """The text colour, black, is nowhere outside of the plate's rectangle, at the top nor at the bottom."""
    picture = boxes_on(GREY, [((50, 100, 250, 200), 1, "Ấg Щу ỹ")], ("", "Ấg Щу ỹ"))
    text = (picture < 60).all(axis=2)
    rows = np.flatnonzero(text.any(axis=1))
    plate = np.flatnonzero((picture[:, 51] == np.array(class_colour(1))).all(axis=1))
    assert plate[0] < rows[0]
    assert rows[-1] < 100
