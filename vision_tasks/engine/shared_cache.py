"""One cache of decoded images for all processes that train together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vision_tasks.config import TrainConfig
from vision_tasks.data.caches.cache import ImageCache
from vision_tasks.data.caches.choice import make_cache
from vision_tasks.data.caches.file import CacheFile
from vision_tasks.engine.progress import say
from vision_tasks.errors import UserError
from vision_tasks.types import Sample, Size, T

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def shared_cache(config: TrainConfig, samples: Sequence[Sample[T]], detail: Size, fabric: Fabric) -> ImageCache | None:
    """The configured cache for `samples`, or None; the first process makes it and tells of it, the others join it.

    Raises UserError, in all of them, where it can't be had.
    """
    if config.probe or config.cache in ("none", "device"):  # the device's is the loader's affair
        return None
    if config.cache == "auto" and config.epochs == 1:
        say("no cache: one epoch reads each image once")
        return None
    cache, problem = _first(config, samples, detail) if fabric.global_rank == 0 else (None, "")
    problem, joint = fabric.broadcast((problem, cache and (cache.file.place, cache.file.budget)))
    if problem:
        raise UserError(problem)
    return ImageCache(CacheFile.join(*joint)) if joint and cache is None else cache


def _first(config: TrainConfig, samples: Sequence[Sample[T]], detail: Size) -> tuple[ImageCache | None, str]:
    """The cache, and what is wrong."""
    try:
        assert config.cache != "device"
        cache, remarks = make_cache(config.cache, config.cache_budget, samples, (detail, config.input.bands))
    except UserError as error:
        return None, str(error)
    for remark in remarks:
        say(remark)
    return cache, ""
