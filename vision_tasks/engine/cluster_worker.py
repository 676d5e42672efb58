"""A worker of a cluster: a model, and what it says of the images that are sent here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vision_tasks.engine.cluster_messages import Answer, Order
from vision_tasks.engine.predict import Here
from vision_tasks.engine.store import Known, Outcome, Outcomes, Version
from vision_tasks.errors import UserError

Begin = Callable[[Path, Outcomes], Here[Any]]  # work that writes pictures into a folder, and keeps outcomes


@dataclass
class Collected:
    """Outcomes that are sent away; of no image anything is known before."""

    outcomes: list[Outcome] = field(default_factory=list)

    def known(self, image: str) -> Known | None:
        return None

    def keep(self, image: str, version: Version) -> None:
        """Nothing is known that could hold."""

    def add(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


class Worker:
    """Called with a table of orders, it gives the table of answers. `ready` loads the model, at the first call."""

    def __init__(self, ready: Callable[[], Begin]) -> None:
        # Nothing is loaded yet: what ends a call is told to the user, what ends a worker's start is not.
        self._begin = cache(ready)

    def __call__(self, table: Any) -> Any:
        """A table with the fields of `Order`; one with those of `Answer`, in any order."""
        orders = [Order(**row) for row in table.to_pylist()]
        try:
            answers = self._answers(orders)
        except UserError as problem:
            answers = [Answer("", [], str(problem))]
        return _table(answers)

    def _answers(self, orders: Sequence[Order]) -> list[Answer]:
        with TemporaryDirectory(prefix="vision-tasks-") as folder:
            collected = Collected()
            work = self._begin()(Path(folder), collected)
            work.all([order.item() for order in orders])
            return [Answer.of(outcome, _pictures(work, outcome)) for outcome in collected.outcomes]


def _table(answers: Sequence[Answer]) -> Any:
    import pyarrow

    columns = {"outcome": pyarrow.string(), "pictures": pyarrow.list_(pyarrow.large_binary()),
               "problem": pyarrow.string()}  # fmt: skip
    return pyarrow.Table.from_pylist([answer._asdict() for answer in answers], pyarrow.schema(columns))


def _pictures(work: Here[Any], outcome: Outcome) -> list[bytes]:
    """The files of an image that was predicted."""
    if outcome.reason is not None:
        return []
    writer = work.writer
    return [(writer.output.folder / picture.file(outcome.image)).read_bytes() for picture in writer.pictures]
