"""Pairs of images and masks: `<split>/images/`, `<split>/masks/` of class indices (255 = void), and `classes.txt`."""

from __future__ import annotations

from pathlib import Path

from vision_tasks.commands.conversion import WHOLE, Conversion, stem_of
from vision_tasks.files import write_text
from vision_tasks.tasks.drawing import save_mask


def write_masks(folder: Path, conversion: Conversion) -> None:
    """Write all splits, and the names of the classes."""
    classes = conversion.dataset.classes
    conversion.losses.add("ids of images", len(conversion.dataset.image_ids))
    for split, items in conversion.splits.items():
        below = folder if split == WHOLE else folder / split
        for item in items:
            conversion.place(item, below / "images")
            save_mask(below / "masks" / f"{stem_of(item.name)}.png", item.truth.index[0].numpy(), len(classes))
    write_text(folder / "classes.txt", "".join(f"{number} {name}\n" for number, name in enumerate(classes)))
