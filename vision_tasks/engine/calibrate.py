"""Temperature scaling: one number, fitted to images that were not trained on, makes probabilities honest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vision_tasks.data.loader import Loader
from vision_tasks.device import autocast
from vision_tasks.engine.evaluate import Inference, fitted_plans, nothing_readable
from vision_tasks.engine.progress import progress
from vision_tasks.metrics.temperature import fit_temperature
from vision_tasks.models.temperature import Tempered
from vision_tasks.types import Failure, InputSpec, Sample


@torch.no_grad()
def fitted_temperature(
    model: Inference[Any], samples: Sequence[Sample[Any]], spec: InputSpec, batch_size: int
) -> float | None:
    """The temperature for `samples`, whose truth is one class each, of a model that has 1; None if none is the best.

    Files that can't be read count nothing; raises UserError if none can.
    """
    network = model.model
    assert isinstance(network, Tempered)
    plans = fitted_plans(len(samples), spec, batch_size)
    loader = Loader(samples, plans, spec.canvas, spec.canvas, spec.bands, truth="original", device=model.device)
    logits, label = [], []
    failures: list[Failure] = []
    with progress("calibrating", len(samples)) as bar:
        for batch in loader:
            failures += batch.failures
            if len(batch):
                with autocast(model.device, model.precision):
                    found = network.outputs(batch.images)[0]
                logits.append(found.double().cpu().numpy())
                label += [int(truth.weight.argmax()) for truth in batch.originals]
            bar.advance(len(batch) + len(batch.failures))
    if not label:
        raise nothing_readable(failures)
    return fit_temperature(np.concatenate(logits), np.array(label))
