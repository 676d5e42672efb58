"""What travels between the machines of a cluster: images that are to be predicted, and what became of each."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vision_tasks.engine.sources import Item
from vision_tasks.engine.sources.folder import absolute
from vision_tasks.engine.store import Outcome, Version
from vision_tasks.types import Size
from vision_tasks.warp import Pixels


class Order(NamedTuple):
    """An image: by its path, which all machines must know, or with its content where that is no file of its own."""

    image: str  # JSON
    content: bytes | None = None

    @classmethod
    def of(cls, item: Item) -> Order:
        """Raises DecodeError where the content can't be had."""
        pixels = item.pixels() if item.pixels is not None else None
        content = pixels.tobytes() if pixels is not None else item.read() if item.member is not None else None
        about = {
            "name": item.name, "path": str(absolute(item.path)), "version": asdict(item.version),
            "size": None if pixels is None else pixels.shape[:2],
        }  # fmt: skip
        return cls(json.dumps(about), content)

    def item(self) -> Item:
        """The image, as whoever gets the order reads it."""
        about = json.loads(self.image)
        item = partial(Item, about["name"], Path(about["path"]), Version(**about["version"]))
        content = self.content
        if content is None:
            return item()
        if about["size"] is None:
            return item(member=lambda: content)
        return item(pixels=partial(_pixels, content, about["size"]))


class Answer(NamedTuple):
    """What became of an image, and the pictures of it, in the order of the writer's; none where it failed."""

    outcome: str  # JSON; empty where no image could be tried
    pictures: list[bytes]
    problem: str = ""  # what kept the worker from all images, or from one that here may be another than there

    @classmethod
    def of(cls, outcome: Outcome, pictures: list[bytes]) -> Answer:
        return cls(json.dumps(asdict(outcome)), pictures)

    def result(self) -> Outcome:
        about: dict[str, Any] = json.loads(self.outcome)
        size = about.pop("size")
        return Outcome(**about | {"version": Version(**about["version"]), "size": size and tuple(size)})


def _pixels(content: bytes, size: Size) -> Pixels:
    return np.frombuffer(content, np.uint8).reshape(*size, 3)
