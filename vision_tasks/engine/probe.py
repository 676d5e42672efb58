"""A linear probe: the network stands still, and only its last layer is fitted, to features of unchanged images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vision_tasks.config import TrainConfig
from vision_tasks.data.loader import Loader
from vision_tasks.device import autocast
from vision_tasks.engine.evaluate import Inference, fitted_plans, nothing_readable
from vision_tasks.engine.progress import progress, say
from vision_tasks.types import Failure, Sample, T


def fit_last_layer(model: Inference[T], samples: Sequence[Sample[T]], config: TrainConfig) -> tuple[int, list[Failure]]:
    """Fit the last layer of `model` to `samples`; how many there were, and the files that could not be read."""
    spec = config.input
    plans = fitted_plans(len(samples), spec, config.batch_size)
    loader = Loader(samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, device=model.device)
    features, targets = [], []
    failures: list[Failure] = []
    with progress("features", len(samples)) as bar:
        for batch in loader:
            failures += batch.failures
            if batch.targets is not None:
                with autocast(model.device, model.precision):
                    features.append(model.model.features(batch.images).float().cpu())
                targets.append(batch.targets.to("cpu"))
            bar.advance(len(batch) + len(batch.failures))
    if not features:
        raise nothing_readable(failures)
    found = torch.cat(features)
    say(f"fitting the last layer to {len(found)} images of {found.shape[1]} features")
    model.model.fit_head(found, type(targets[0]).stack(targets))
    return len(found), failures
