"""Non-maximum suppression by torchvision's operator, without the rest of torchvision."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def suppressed(xyxy: Tensor, score: Tensor, most_overlap: float) -> Tensor:
    """Which of the boxes [N,4] stay, best first, int64; those that overlap a better one by more than that IoU don't.

    In float32: the operator alone knows nothing of autocast.
    """
    kept: Tensor = _operator()(xyxy, score, most_overlap)
    return kept


@cache
def _operator() -> Any:
    """What `torchvision.ops.nms` calls. To import that takes seconds, for it imports torch's compiler, too."""
    operators: Any = torch.ops
    found = find_spec("torchvision")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for library in Path(folder).glob("_C*"):
            with suppress(OSError):
                operators.load_library(library)
    try:
        return operators.torchvision.nms
    except AttributeError:  # its library lies elsewhere
        from torchvision.ops import nms

        return nms
