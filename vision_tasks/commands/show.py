"""`vision-tasks models show NAME`: what a network is made of."""

from __future__ import annotations

from vision_tasks.models.registry import create_model, model_entry
from vision_tasks.models.summary import summarise, table
from vision_tasks.tasks import get_task


def show_model(name: str, image_size: int | None = None, classes: int | None = None) -> str:
    """Each layer's output shape, parameters and multiply-adds, by default as the network was published."""
    entry = model_entry(name)
    size = image_size or entry.recipe.get("image_size") or get_task(entry.task).recipe.image_size
    model = create_model(name, [f"class {number}" for number in range(classes or entry.published_classes)])
    model.require_canvas(size)
    return table(summarise(model, size))
