"""What lies beside shards and is true of all of them: `dataset.json`, as `data shard` writes it, or `classes.txt`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.class_names import composed, numbered
from vision_tasks.data.shards.media import read_whole
from vision_tasks.errors import UserError

ABOUT = "dataset.json"
_CLASSES = "classes.txt"


@dataclass(frozen=True)
class About:
    """What is known of a data set before its shards are looked into."""

    classes: tuple[str, ...] = ()
    class_ids: tuple[int, ...] = ()
    exclusive: bool = True  # False: an image may have several classes, also where none here has
    shards: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # name -> its split and its samples
    flaws: tuple[Flaw, ...] = ()  # of the files that the shards were made of

    @property
    def is_ours(self) -> bool:
        """Whether `data shard` has written the shards: names are then those of its source, keys their order in it."""
        return bool(self.shards)


def read_about(base: str) -> About:
    """What stands in the folder `base`, a path or URL with its last slash. Raises UserError for what makes no sense."""
    text = read_whole(base + ABOUT)
    if text is None:
        return About(classes=_class_list(base + _CLASSES))
    try:
        said = json.loads(text)
        flaws = tuple(Flaw(Path(path), str(what), bool(of_truth)) for path, what, of_truth in said.get("flaws", ()))
        shards = {str(name): (str(each["split"]), int(each["samples"])) for name, each in said["shards"].items()}
        ids = tuple(map(int, said.get("class_ids", ())))
        return About(tuple(map(str, said["classes"])), ids, bool(said.get("exclusive", True)), shards, flaws)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{base}{ABOUT}: isn't what `vision-tasks data shard` writes ({type(error).__name__}: {error}); mend or "
            "remove it"
        ) from error


def _class_list(name: str) -> tuple[str, ...]:
    text = read_whole(name)
    lines = [] if text is None else text.decode("utf-8-sig", "replace").splitlines()
    listed = numbered([line.strip() for line in lines if line.strip() and not line.startswith("#")])
    names = {value: composed(name) for value, name in listed}
    if sorted(names) != list(range(len(listed))):
        raise UserError(f"{name}: its numbers must be 0, 1, 2, ..., each once; mend it")
    return tuple(names[value] for value in sorted(names))
