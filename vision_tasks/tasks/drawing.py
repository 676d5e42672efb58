"""Pictures of predictions: labelled boxes, coloured masks, captions. All take RGB pixels and return a new picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vision_tasks.tasks.class_index import pixel_counts, write_index_png
from vision_tasks.tasks.fonts import font_of
from vision_tasks.tasks.label_placement import place_labels
from vision_tasks.types import IGNORE
from vision_tasks.warp import Pixels

Colour = tuple[int, int, int]
Boxes = NDArray[np.float64]  # [N,4], xyxy in pixels of the picture

_SMALLEST = 256  # small pictures are enlarged to about this side, so that text on them can be read
_SMALLEST_TEXT = 11  # pixels
_MOST_COVERED = 0.06  # of a picture by labels, before their text gets smaller
_MANY = 20  # boxes
_LABELLED = 50  # boxes at most: labels of more hide one another and the picture
_FAINT = 0.3  # how much of their colour the others' outlines have
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

    The best 50 have labels. The others are faint, and a bar says how many they are. Where a text finds no room, a
    legend below the picture says what its box's colour means.
    """
    factor = _enlargement(pixels)
    picture = _enlarge(pixels, factor)
    boxes = np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4) * factor
    labels = [(text, class_colour(index)) for _, index, text in rows]
    colours = [colour for _, colour in labels]
    if len(rows) > _LABELLED:
        outlined = picture.copy()
        _outline(outlined, boxes[_LABELLED:], colours[_LABELLED:])
        picture = Image.blend(picture, outlined, _FAINT)
    _outline(picture, boxes[:_LABELLED], colours[:_LABELLED])
    placed = _label_boxes(picture, boxes[:_LABELLED], labels[:_LABELLED])
    unnamed = {index for (_, index, _), named in zip(rows, placed, strict=False) if not named}
    unnamed |= {index for _, index, _ in rows[_LABELLED:]}
    remarks = [f"labelled: the best {_LABELLED} of {len(rows)} boxes"] if len(rows) > _LABELLED else []
    return np.asarray(_with_legend(picture, sorted(unnamed), classes, remarks))


def mask_on(pixels: Pixels, index: NDArray[np.uint8], classes: Sequence[str]) -> Pixels:
    """Class colours over the image, and a legend of those that occur; a class `background` is left as it is.

    Pixels of no class, where the network did not see the image, are grey.
    """
    palette = np.full((IGNORE + 1, 3), _NO_CLASS, np.uint8)
    palette[: len(classes)] = [class_colour(i) for i in range(len(classes))]
    colours = palette[index]
    clear = [i for i, name in enumerate(classes) if name == "background"]
    blended = np.where(np.isin(index, clear)[..., None], pixels, cv2.addWeighted(pixels, 0.5, colours, 0.5, 0))
    picture = _enlarge(np.asarray(blended), _enlargement(pixels))
    counts = pixel_counts(index)
    names = [(classes[i], class_colour(i)) for i in range(len(classes)) if counts[i] and i not in clear]
    return np.asarray(with_bar(picture, names + [("no class", _NO_CLASS)] * bool(counts[IGNORE])))


def caption(pixels: Pixels, texts: Sequence[str]) -> Pixels:
    """The image above a bar with `texts`."""
    return np.asarray(with_bar(_enlarge(pixels, _enlargement(pixels)), [(text, _BAR) for text in texts]))


def save_mask(path: Path, index: NDArray[np.uint8], num_classes: int) -> None:
    """A class-index PNG whose palette shows the classes' colours in any viewer."""
    write_index_png(path, index, [class_colour(i) if i < num_classes else _NO_CLASS for i in range(256)])


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


def _text_height(size: tuple[int, int]) -> int:
    """The usual height of text on a picture of `size`, in pixels."""
    return max(_SMALLEST_TEXT, round(max(size) / 45))


def _outline(picture: Image.Image, boxes: Boxes, colours: Sequence[Colour]) -> None:
    """Rectangles, the first on top; thinner lines for many, as they lie on one another."""
    many = len(boxes) > _MANY
    width = max(1 if many else 2, round(max(picture.size) / (800 if many else 400)))
    pen = ImageDraw.Draw(picture)
    for (x0, y0, x1, y1), colour in reversed(list(zip(boxes.tolist(), colours, strict=True))):
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)


def _label_boxes(picture: Image.Image, boxes: Boxes, labels: Sequence[tuple[str, Colour]]) -> list[bool]:
    """Labels on the picture where there is room, and for which boxes there was."""
    height = _fitting_height(picture.size, [text for text, _ in labels])
    plates = np.array([_plate(text, height) for text, _ in labels], dtype=np.float64).reshape(-1, 2)
    corners = place_labels(plates, boxes, picture.size)
    pen = ImageDraw.Draw(picture)
    for corner, (text, colour) in zip(corners, labels, strict=True):
        if corner is not None:
            _label(pen, corner, text, colour, height)
    return [corner is not None for corner in corners]


def _fitting_height(size: tuple[int, int], texts: Sequence[str]) -> int:
    """The usual height of text, or a smaller one where the plates of all texts would cover much of the picture."""
    usual = _text_height(size)
    plates = [_plate(text, usual) for text in texts]
    covered = sum(width * height for width, height in plates) / (size[0] * size[1])
    smaller: float = (_MOST_COVERED / max(covered, 1e-9)) ** 0.5
    return max(_SMALLEST_TEXT, round(usual * min(1.0, smaller)))


def _plate(text: str, height: int) -> tuple[int, int]:
    """(width, height) of a text on its plate."""
    font = font_of(text, height)
    # Scripts differ in how far they reach down; plates of one script are alike.
    deepest = "Ag" if text.isascii() else f"Ag{text}"
    return round(font.getlength(text)) + 6, round(font.getbbox(deepest)[3]) + 4


def _text_colour(plate: Colour) -> Colour:
    """Black or white, whichever has more contrast (relative luminance of WCAG 2.2: at least 4.5 to 1)."""
    linear = [(c / 12.92) if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in plate)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def _label(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Colour, height: int) -> None:
    """Text on a filled plate whose upper left corner is `corner`."""
    (x, y), (right, lower) = corner, _plate(text, height)
    pen.rectangle((x, y, x + right - 1, y + lower - 1), fill=colour)
    pen.text((x + 3, y + 1), text, fill=_text_colour(colour), font=font_of(text, height))


def _with_legend(
    picture: Image.Image, shown: Sequence[int], classes: Sequence[str], remarks: Sequence[str] = ()
) -> Image.Image:
    """The picture above `remarks` and the names of classes on their colours."""
    return with_bar(picture, [*((text, _BAR) for text in remarks), *((classes[i], class_colour(i)) for i in shown)])


def with_bar(picture: Image.Image, texts: Sequence[tuple[str, Colour]]) -> Image.Image:
    """The picture above a bar of texts on plates, in as many rows as they need; without any, the picture alone."""
    if not texts:
        return picture
    height = _text_height(picture.size)
    plates = [_plate(text, height) for text, _ in texts]
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
        _label(pen, corner, text, colour, height)
    return page
