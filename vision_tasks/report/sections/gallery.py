"""Images on which models disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision_tasks.benchmarking.record import GalleryImage
from vision_tasks.report.numbers import score
from vision_tasks.report.page import paragraph, text
from vision_tasks.report.sections.pictures import Pictures


def gallery(images: Sequence[GalleryImage], folder: Path, pictures: Pictures) -> list[str]:
    """Truth and predictions of each image beside one another, as far as there is room in the page."""
    parts = [part for image in images if (part := _image(image, folder, pictures))]
    left = len(images) - len(parts)
    if parts and left:
        parts.append(paragraph(f"{left} more are in the folder gallery/ beside this page.", "faint"))
    return parts


def _image(image: GalleryImage, folder: Path, pictures: Pictures) -> str:
    shown = [pictures.figure(folder / image.truth, f"Truth of {image.image}", "truth")]
    for name, file in image.predictions.items():
        value = score(image.scores.get(name))
        says = f"What {name} says of {image.image}: scored {value}"
        shown.append(pictures.figure(folder / file, says, f"{name}: {value}"))
    if not any(shown):
        return ""
    return f'<h3>{text(image.image)}</h3>\n<div class="pictures">{"".join(shown)}</div>'
