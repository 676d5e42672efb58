"""Whether a training can read anything: asked before the first file of its run is written."""

from __future__ import annotations

from collections.abc import Sequence

from vision_tasks.augment.plan import fitted
from vision_tasks.data.loader import Loader
from vision_tasks.engine.evaluate import nothing_readable
from vision_tasks.types import Failure, InputSpec, Sample, T


def require_readable(samples: Sequence[Sample[T]], spec: InputSpec) -> None:
    """Raises UserError where none of `samples` can be read with its truth; looks no further than the first that can."""
    plans = (fitted([position], spec.canvas, spec.fit) for position in range(len(samples)))
    failures: list[Failure] = []
    for batch in Loader(samples, plans, spec.canvas, detail=spec.canvas, bands=spec.bands, truth="original"):
        if len(batch):
            return
        failures += batch.failures
    raise nothing_readable(failures)
