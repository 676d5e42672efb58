"""Whether a user's own pipeline of augmentation can change these images and their truth: asked before a training."""

from __future__ import annotations

from collections.abc import Sequence

from vision_tasks.augment.albumentations_bridge import Pipeline
from vision_tasks.augment.plan import fitted
from vision_tasks.config import TrainConfig
from vision_tasks.data.loader import Loader
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError
from vision_tasks.types import Sample, T


def rehearse(samples: Sequence[Sample[T]], config: TrainConfig) -> None:
    """Say what the pipeline does, if there is one. Raises UserError for what would go wrong in the training."""
    if not config.augment.albumentations:
        return
    pipeline, spec = _pipeline(config.augment.albumentations), config.input
    plans = (fitted([position], spec.canvas, spec.fit) for position in range(len(samples)))
    batches = Loader(samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands)
    kind = next(batch.targets.annotations() for batch in batches if batch.targets is not None)
    pipeline.rehearse(kind, spec.canvas, spec.channels)
    say(f"augmentation: {pipeline}")


def _pipeline(text: str) -> Pipeline:
    try:
        return Pipeline(text)
    except UserError as error:
        raise UserError(
            f"setting 'augment.albumentations': {error}; its text is wanted; --augment albumentations:FILE reads a file"
        ) from error
