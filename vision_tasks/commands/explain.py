"""`explain`: pictures of what a checkpoint looks at, in itself and in images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_tasks.commands.datasets import load_dataset
from vision_tasks.commands.given import PathLike, output_folder
from vision_tasks.data.catalog import pick_split
from vision_tasks.device import choose_device
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.progress import downloading, say
from vision_tasks.errors import UserError
from vision_tasks.explanations import explanation
from vision_tasks.explanations.explanation import Request
from vision_tasks.explanations.images import images_in
from vision_tasks.explanations.subject import Wish
from vision_tasks.models.checkpoint import load_model
from vision_tasks.models.registry import model_entry
from vision_tasks.tasks import get_task
from vision_tasks.types import Sample


def explain(
    *,
    weights: PathLike,
    source: PathLike | Sequence[PathLike],
    out: PathLike,
    layer: str | None = None,
    filter: int | None = None,
    data: PathLike | None = None,
    split: str = "all",
    label: str | None = None,
    box: int = 1,
    device: str = "auto",
    data_format: str | None = None,
) -> list[Path]:
    """Write pictures of what a checkpoint looks at, in itself and in the images of `source`, into `out`.

    They are its first filters, the maps that `layer` makes of each image, and where the evidence for what it predicts
    lies (Grad-CAM): for the class `label`, or the likeliest; of boxes for the number `box`, of which 1 is the surest.
    `layer` is a name as `models show` prints it, or of a block of such. With a number of a `filter` of that layer also
    the nine patches of `data`, or else of `source`, that excite it most. Returns the pictures; raises UserError.
    """
    if data is not None and filter is None:
        raise UserError("--data is where patches for a filter are looked for; give --filter N too")
    with downloading() as report:
        model, card = load_model(weights, report)
    record = get_task(model_entry(card.name).task)
    model = Inference.of(model, choose_device(device), "fp32").model  # as evaluate has it, to the bit
    images = images_in([source] if isinstance(source, str | Path) else source, Path(out))
    searched: Sequence[Sample[Any]] = images
    if data is not None:
        searched = pick_split(load_dataset(record.name, data, data_format), split)
    request = Request(layer, filter, Wish(label, box))
    written = explanation.explain(model, card.input, images, searched, output_folder(Path(out)), request)
    say(f"wrote {len(written)} pictures into {out}; {explanation.LIST} there says what each of them shows")
    return written
