"""vision_tasks: classify, detect, segment. Train, evaluate and predict with one data layer and exact metrics.

import vision_tasks as vt
run = vt.train("classify", data="photos", model="resnet18", epochs=10)
print(vt.evaluate("classify", weights=run, data="photos")["top1"])
vt.predict("classify", weights=run, source="holiday", out="predictions")
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Imported when first used: `import vision_tasks` and `vision-tasks --help` must not wait for torch.
_PUBLIC = {
    "load_dataset": "vision_tasks.commands.datasets",
    "train": "vision_tasks.commands.train",
    "evaluate": "vision_tasks.commands.evaluate",
    "predict": "vision_tasks.commands.predict",
    "export": "vision_tasks.commands.export",
    "parity": "vision_tasks.commands.parity",
    "explain": "vision_tasks.commands.explain",
    "benchmark": "vision_tasks.benchmarking.run",
    "create_model": "vision_tasks.models.registry",
    "load_model": "vision_tasks.models.checkpoint",
    "UserError": "vision_tasks.errors",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vision_tasks' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
