"""Temperature of probabilities: one number kept with a checkpoint, by which logits are divided before the softmax.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2. It moves no class before another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import load_file
from torch import Tensor

from vision_tasks.files import write_tensors


@runtime_checkable
class Tempered(Protocol):
    """A model whose `outputs` are logits, already divided by its temperature."""

    temperature: float

    def outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits [B,K] first, for images [B,C,H,W]; in evaluation mode."""


def temperature_of(model: Any) -> float:
    """The model's temperature; 1 where it knows none."""
    return model.temperature if isinstance(model, Tempered) else 1.0


def heat(model: Any, temperature: float) -> None:
    """Give a model that knows one its temperature."""
    if isinstance(model, Tempered):
        model.temperature = temperature


def store_temperature(file: Path, key: str, header: str, temperature: float) -> None:
    """Write the temperature into what the checkpoint `file` says of itself, its `header` under `key`.

    The file is replaced in one step, its tensors are the same to the bit. Raises UserError where it can't be written.
    """
    fields = json.loads(header) | {"temperature": temperature}
    write_tensors(file, load_file(file), {key: json.dumps(fields)})
