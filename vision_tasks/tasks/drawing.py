"""Pictures of predictions: labelled boxes, coloured masks, captions. All take RGB pixels and return a new picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vision_tasks.types import IGNORE
from vision_tasks.warp import Pixels

Colour = tuple[int, int, int]

_SMALLEST = 256  # small pictures are enlarged to about this side, so that text on them can be read


def class_colour(index: int) -> Colour:
    """A colour for a class: hues a golden angle apart, so that neighbours in number differ most."""
    hue = (index * 0.61803398875) % 1.0
    # Every other turn of the circle is darker: many classes stay apart.
    value = 1.0 if (index // 8) % 2 == 0 else 0.7
    hsv = np.array([[[int(hue * 179), 190, int(value * 235)]]], np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def boxes_on(pixels: Pixels, rows: Sequence[tuple[Sequence[float], int, str]]) -> Pixels:
    """Boxes (xyxy, class index, text), later ones on top."""
    factor = _enlargement(pixels)
    picture = _enlarge(pixels, factor)
    pen = ImageDraw.Draw(picture)
    width = max(2, round(max(picture.size) / 400))
    for box, index, text in rows:
        corners = [edge * factor for edge in box]
        pen.rectangle([corners[0], corners[1], max(corners[0], corners[2] - 1), max(corners[1], corners[3] - 1)],
                      outline=class_colour(index), width=width)  # fmt: skip
        _label(pen, picture.size, (corners[0], corners[1]), text, class_colour(index))
    return np.asarray(picture)


def mask_on(pixels: Pixels, index: NDArray[np.uint8], classes: Sequence[str]) -> Pixels:
    """Class colours over the image, with a legend of the classes that occur; a class `background` is left as it is."""
    factor = _enlargement(pixels)
    palette = np.array([class_colour(i) for i in range(len(classes))] + [(128, 128, 128)], np.uint8)
    colours = palette[np.where(index == IGNORE, len(classes), index)]
    clear = [i for i, name in enumerate(classes) if name == "background"]
    blended = np.where(np.isin(index, clear)[..., None], pixels, cv2.addWeighted(pixels, 0.5, colours, 0.5, 0))
    picture = _enlarge(np.asarray(blended), factor)
    pen = ImageDraw.Draw(picture)
    present = [i for i in np.unique(index).tolist() if i < len(classes) and i not in clear]
    corner = 2.0
    for i in present:
        corner = _label(pen, picture.size, (2.0, corner), classes[i], class_colour(i), below=True) + 2
    return np.asarray(picture)


def caption(pixels: Pixels, texts: Sequence[str]) -> Pixels:
    """The image above a bar with `texts`."""
    picture = _enlarge(pixels, _enlargement(pixels))
    font = _font(picture.size)
    bar = _text_height(font) + 8
    page = Image.new("RGB", (picture.width, picture.height + bar), (24, 24, 24))
    page.paste(picture, (0, 0))
    ImageDraw.Draw(page).text((6, picture.height + 3), ", ".join(texts), fill=(255, 255, 255), font=font)
    return np.asarray(page)


def save_mask(path: Path, index: NDArray[np.uint8], num_classes: int) -> None:
    """A class-index PNG whose palette shows the classes' colours in any viewer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(index).convert("P")
    colours = [class_colour(i) if i < num_classes else (128, 128, 128) for i in range(256)]
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.save(path)


def _enlargement(pixels: Pixels) -> int:
    return max(1, -(-_SMALLEST // int(max(pixels.shape[:2]))))


def _enlarge(pixels: Pixels, factor: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


@cache
def _font_of(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)


def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font_of(max(11, round(max(size) / 45)))


def _text_height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return round(font.getbbox("Ag")[3]) + 2


def _label(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    colour: Colour,
    below: bool = False,
) -> float:
    """Text on a filled plate at `corner` (above it, unless there is no room), kept inside; returns its lower edge."""
    font = _font(size)
    width, height = round(font.getlength(text)) + 6, _text_height(font) + 2
    x = min(max(0.0, corner[0]), max(0, size[0] - width))
    y = corner[1] if below or corner[1] < height else corner[1] - height
    pen.rectangle([x, y, x + width, y + height], fill=colour)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    pen.text((x + 3, y + 1), text, fill=(0, 0, 0) if light > 120 else (255, 255, 255), font=font)
    return y + height
