"""Pictures that become part of the page: small JPEGs, as many as the page has room for."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vision_tasks.report.page import text

BUDGET = 5_000_000  # bytes of a page, in base64
_QUALITY = 80


class Pictures:
    """Embeds pictures until their room is used up."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.left = budget

    def figure(self, path: Path, says: str, caption: str, side: int = 320) -> str:
        """A picture shrunk to `side` pixels, with its text alternative; empty where it isn't there, or has no room."""
        found = _jpeg(path, side)
        if found is None or len(found[0]) > self.left:
            return ""
        data, (width, height) = found
        self.left -= len(data)
        image = (
            f'<img data-source="data:image/jpeg;base64,{data}" alt="{text(says)}" width="{width}" height="{height}">'
        )
        return f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>"


def _jpeg(path: Path, side: int) -> tuple[str, tuple[int, int]] | None:
    """Base64, and width and height, which keep its place on the page until it is shown."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, UnidentifiedImageError):
        return None
    small.thumbnail((side, side))
    memory = io.BytesIO()
    small.save(memory, "JPEG", quality=_QUALITY)
    return base64.b64encode(memory.getvalue()).decode(), small.size
