"""Models compared on a user's own data: every one trained, scored and clocked by the same code, and judged in pairs.

The package has the name of its one public function, and takes it from the function when it is imported: so it can be
called itself.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from vision_tasks.benchmark.run import benchmark

        return benchmark(*args, **options)


sys.modules[__name__].__class__ = _Callable
