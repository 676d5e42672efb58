"""Pictures of predictions: labelled boxes, coloured masks, captions. All take RGB pixels and return a new picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vision_tasks.tasks.label_placement import place_labels
from vision_tasks.types import IGNORE
from vision_tasks.warp import Pixels

Colour = tuple[int, int, int]
Boxes = NDArray[np.float64]  # [N,4], xyxy in pixels of the picture
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SMALLEST = 256  # small pictures are enlarged to about this side, so that text on them can be read
_SMALLEST_TEXT = 11  # pixels
_MOST_COVERED = 0.06  # of a picture by labels, before their text gets smaller
_MANY = 20  # boxes
_BAR: Colour = (24, 24, 24)
_NO_CLASS: Colour = (128, 128, 128)
_GAP = 4  # pixels between plates of a bar


def class_colour(index: int) -> Colour:
    """A colour for a class: hues a golden angle apart, so that neighbours in number differ most."""
    hue = (index * 0.61803398875) % 1.0
    # Every other turn of the circle is darker: many classes stay apart.
    value = 1.0 if (index // 8) % 2 == 0 else 0.7
    hsv = np.array([[[int(hue * 179), 190, int(value * 235)]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def boxes_on(pixels: Pixels, rows: Sequence[tuple[Sequence[float], int, str]], classes: Sequence[str]) -> Pixels:
    """Boxes (xyxy, class index, text), the best first: it lies on top, and its text has the first choice of place.

    Where a text finds no room, a legend below the picture says what its box's colour means.
    """
    factor = _enlargement(pixels)
    picture = _enlarge(pixels, factor)
    boxes = np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4) * factor
    labels = [(text, class_colour(index)) for _, index, text in rows]
    _outline(picture, boxes, [colour for _, colour in labels])
    placed = _label_boxes(picture, boxes, labels)
    unnamed = {index for (_, index, _), named in zip(rows, placed, strict=True) if not named}
    return np.asarray(_with_legend(picture, sorted(unnamed), classes))


def mask_on(pixels: Pixels, index: NDArray[np.uint8], classes: Sequence[str]) -> Pixels:
    """Class colours over the image, and a legend of those that occur; a class `background` is left as it is."""
    palette = np.array([class_colour(i) for i in range(len(classes))] + [_NO_CLASS], np.uint8)
    colours = palette[np.where(index == IGNORE, len(classes), index)]
    clear = [i for i, name in enumerate(classes) if name == "background"]
    blended = np.where(np.isin(index, clear)[..., None], pixels, cv2.addWeighted(pixels, 0.5, colours, 0.5, 0))
    picture = _enlarge(np.asarray(blended), _enlargement(pixels))
    present = [i for i in np.unique(index).tolist() if i < len(classes) and i not in clear]
    return np.asarray(_with_legend(picture, present, classes))


def caption(pixels: Pixels, texts: Sequence[str]) -> Pixels:
    """The image above a bar with `texts`."""
    return np.asarray(_with_bar(_enlarge(pixels, _enlargement(pixels)), [(text, _BAR) for text in texts]))


def save_mask(path: Path, index: NDArray[np.uint8], num_classes: int) -> None:
    """A class-index PNG whose palette shows the classes' colours in any viewer."""
    picture = Image.fromarray(index).convert("P")
    colours = [class_colour(i) if i < num_classes else _NO_CLASS for i in range(256)]
    picture.putpalette([channel for colour in colours for channel in colour])
    save_picture(path, picture)


def save_picture(path: Path, picture: Image.Image) -> None:
    """A PNG; if it can't be written to its end, or the user stops it, nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Pillow, as OpenCV crashes on names that are no text.
        picture.save(path, "PNG", compress_level=3)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _enlargement(pixels: Pixels) -> int:
    return max(1, -(-_SMALLEST // int(max(pixels.shape[:2]))))


def _enlarge(pixels: Pixels, factor: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


@cache
def _font_of(height: int) -> Font:
    return ImageFont.load_default(height)


def _font(size: tuple[int, int]) -> Font:
    return _font_of(max(_SMALLEST_TEXT, round(max(size) / 45)))


def _outline(picture: Image.Image, boxes: Boxes, colours: Sequence[Colour]) -> None:
    """Rectangles, the first on top; thinner lines for many, as they lie on one another."""
    many = len(boxes) > _MANY
    width = max(1 if many else 2, round(max(picture.size) / (800 if many else 400)))
    pen = ImageDraw.Draw(picture)
    for (x0, y0, x1, y1), colour in reversed(list(zip(boxes.tolist(), colours, strict=True))):
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)


def _label_boxes(picture: Image.Image, boxes: Boxes, labels: Sequence[tuple[str, Colour]]) -> list[bool]:
    """Labels on the picture where there is room, and for which boxes there was."""
    font = _fitting_font(picture.size, [text for text, _ in labels])
    plates = np.array([_plate(font, text) for text, _ in labels], dtype=np.float64).reshape(-1, 2)
    corners = place_labels(plates, boxes, picture.size)
    pen = ImageDraw.Draw(picture)
    for corner, (text, colour) in zip(corners, labels, strict=True):
        if corner is not None:
            _label(pen, corner, text, colour, font)
    return [corner is not None for corner in corners]


def _fitting_font(size: tuple[int, int], texts: Sequence[str]) -> Font:
    """The usual font, or a smaller one where the plates of all texts would cover much of the picture."""
    usual = max(_SMALLEST_TEXT, round(max(size) / 45))
    plates = [_plate(_font_of(usual), text) for text in texts]
    covered = sum(width * height for width, height in plates) / (size[0] * size[1])
    return _font_of(max(_SMALLEST_TEXT, round(usual * min(1.0, (_MOST_COVERED / max(covered, 1e-9)) ** 0.5))))


def _plate(font: Font, text: str) -> tuple[int, int]:
    """(width, height) of a text on its plate."""
    return round(font.getlength(text)) + 6, round(font.getbbox("Ag")[3]) + 4


def _text_colour(plate: Colour) -> Colour:
    """Black or white, whichever has more contrast (relative luminance of WCAG 2.2: at least 4.5 to 1)."""
    linear = [(c / 12.92) if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in plate)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def _label(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Colour, font: Font) -> None:
    """Text on a filled plate whose upper left corner is `corner`."""
    (x, y), (width, height) = corner, _plate(font, text)
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    pen.text((x + 3, y + 1), text, fill=_text_colour(colour), font=font)


def _with_legend(picture: Image.Image, shown: Sequence[int], classes: Sequence[str]) -> Image.Image:
    """The picture above the names of classes on their colours; without any, the picture alone."""
    return _with_bar(picture, [(classes[i], class_colour(i)) for i in shown]) if shown else picture


def _with_bar(picture: Image.Image, texts: Sequence[tuple[str, Colour]]) -> Image.Image:
    """The picture above a bar of texts on plates, in as many rows as they need."""
    font = _font(picture.size)
    plates = [_plate(font, text) for text, _ in texts]
    width = max(picture.width, *(plate[0] + 2 * _GAP for plate in plates))
    x, y, corners = _GAP, picture.height + _GAP, []
    for plate in plates:
        if x + plate[0] + _GAP > width:
            x, y = _GAP, y + plate[1] + _GAP
        corners.append((x, y))
        x += plate[0] + _GAP
    page = Image.new("RGB", (width, y + plates[-1][1] + _GAP), _BAR)
    page.paste(picture, (0, 0))
    pen = ImageDraw.Draw(page)
    for corner, (text, colour) in zip(corners, texts, strict=True):
        _label(pen, corner, text, colour, font)
    return page
