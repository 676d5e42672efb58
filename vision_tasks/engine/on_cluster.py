"""Inference by the machines of a cluster, with Ray Data (https://docs.ray.io/en/latest/data/data.html).

This process walks the sources, keeps what was done, and writes; everything between is done by workers, each of which
has a model. So a call on a cluster can be ended and gone on with as any other, also without the cluster. Images go to
the workers in parts, which come back as they are done; so many parts are a round, and memory holds those of one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.cluster_messages import Answer, Order
from vision_tasks.engine.cluster_worker import Begin, Worker
from vision_tasks.engine.image_writer import ImageWriter
from vision_tasks.engine.pending import pending
from vision_tasks.engine.progress import Bar, say
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.sources import Item
from vision_tasks.engine.store import Store
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.runtime import required
from vision_tasks.types import Failure

CLUSTERS = ("ray",)

_PART = 128  # images
_PART_BYTES = 2**26  # of images that are no files of their own
_ROUND = 160  # parts for each worker: starting the workers of a round takes seconds
_ROUND_BYTES = 2**30
_CPUS = 4  # of a worker without GPU: from there on, several processes are faster than more threads
_LIMITS = "VISION_TASKS_MAX_"  # variables that hold for all machines
_AN_ERROR = re.compile(r"[\w.]+(Error|Exception|Interrupt): ")
_REMEDY = (
    "; each machine must have the same vision_tasks, and the weights and images by the same path; the same call goes on"
)


@dataclass(frozen=True)
class Workers:
    """How the work is spread over a cluster."""

    count: int
    cpus: int  # of each
    gpus: int


def require_cluster(cluster: str | None) -> None:
    """Raises UserError for an unknown kind of cluster, and a missing extra."""
    if cluster is None:
        return
    if cluster not in CLUSTERS:
        raise unknown_name("cluster", cluster, CLUSTERS)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anyone
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what ends a call is told here
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    for package in ("ray", "pyarrow", "pandas"):
        required(package, "ray")
    _data().DataContext.get_current().enable_progress_bars = False  # there is ours


@contextmanager
def work_of(
    cluster: str | None, ready: Callable[[], Begin], use_gpus: bool
) -> Iterator[Callable[[ImageWriter[Any], Store, Bar], OnCluster] | None]:
    """What works elsewhere, in the block; None without cluster. Raises UserError where none answers or can work."""
    if cluster is None:
        yield None
        return
    with _connected():
        workers = spread(use_gpus)
        what = f"a GPU and {workers.cpus} CPUs" if workers.gpus else f"{workers.cpus} CPUs"
        say(f"cluster: {workers.count} workers with {what} each")
        yield partial(OnCluster, ready, workers)


@contextmanager
def _connected() -> Iterator[None]:
    """The cluster that runs, as RAY_ADDRESS or this machine says, or else one of this machine, for the block."""
    ray = required("ray", "ray")
    begun = not ray.is_initialized()
    if begun:
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"no cluster answers ({str(error).splitlines()[0]}): check RAY_ADDRESS") from error
    try:
        yield
    finally:
        if begun:
            ray.shutdown()


def spread(use_gpus: bool) -> Workers:
    """A worker for each GPU, or for each few CPUs of a machine. Raises UserError where there is neither."""
    machines = [node["Resources"] for node in required("ray", "ray").nodes() if node["Alive"]]
    return spread_over([(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in machines], use_gpus)


def spread_over(machines: Iterable[tuple[int, int]], use_gpus: bool) -> Workers:
    """As `spread`, for machines with so many CPUs and GPUs."""
    able = [(cpus, gpus) for cpus, gpus in machines if cpus]
    if not able:
        raise UserError("no machine of the cluster has CPUs to offer; start some with `ray start`")
    if use_gpus and any(gpus for _, gpus in able):
        each = min(cpus // gpus for cpus, gpus in able if gpus)
        return Workers(sum(gpus for _, gpus in able), max(1, each), 1)
    each = min(_CPUS, *(cpus for cpus, _ in able))
    return Workers(sum(cpus // each for cpus, _ in able), each, 0)


@dataclass
class OnCluster:
    """Work of a cluster, as of `predict.Work`; inside `work_of`. `ready` is called by each worker."""

    ready: Callable[[], Begin]
    workers: Workers
    writer: ImageWriter[Any]
    store: Store
    bar: Bar
    done: int = 0
    _underway: dict[str, Item] = field(default_factory=dict)

    def all(self, walk: Iterable[Item | Failure]) -> None:
        """As of `Work`."""
        orders = self._orders(each.item for each in pending(walk, self.store, self.writer, self._underway))
        while parts := list(self._round(orders)):
            with _told():
                for answer in self._answers(parts):
                    self._take(answer)

    def _orders(self, images: Iterable[Item]) -> Iterator[Order]:
        """Those whose content can be had."""
        for item in images:
            try:
                order = Order.of(item)
            except DecodeError as error:
                with self.writer.kept():
                    self.writer.fail(item.name, item.version, str(error))
            else:
                self._underway[item.name] = Item(item.name, item.path, item.version)  # without content
                yield order

    def _round(self, orders: Iterator[Order]) -> Iterator[Any]:
        """The parts of a round, in the cluster's own memory, which goes on to its disks."""
        total = 0
        for _ in range(_ROUND * self.workers.count):
            part = list(_part(orders))
            if not part:
                return
            yield required("ray", "ray").put(_table(part))
            total += sum(map(_bytes_of, part))
            if total > _ROUND_BYTES:
                return

    def _answers(self, parts: list[Any]) -> Iterator[list[Answer]]:
        """What comes back, in any order, a part at a time."""
        data = _data()
        limits = {name: value for name, value in os.environ.items() if name.startswith(_LIMITS)}
        dataset = data.from_arrow_refs(parts).map_batches(
            Worker,
            fn_constructor_args=(self.ready,),
            compute=data.ActorPoolStrategy(size=min(self.workers.count, len(parts))),
            batch_size=None,  # a part is a batch
            batch_format="pyarrow",
            num_cpus=self.workers.cpus,
            num_gpus=self.workers.gpus,
            runtime_env={"env_vars": limits} if limits else None,
        )
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield [Answer(**row) for row in table.to_pylist()]

    def _take(self, answers: list[Answer]) -> None:
        with self.writer.kept():
            for answer in answers:
                if answer.problem:
                    raise UserError(f"a worker of the cluster: {answer.problem}{_REMEDY}")
                outcome = answer.result()
                with self.writer.one(Reading(self._underway.pop(outcome.image))):
                    self.writer.take(outcome, answer.pictures)
        self.done += len(answers)
        self.bar.advance(len(answers))


def _data() -> Any:
    return import_module("ray.data")


def _table(part: list[Order]) -> Any:
    pyarrow = required("pyarrow", "ray")
    columns = {"image": pyarrow.string(), "content": pyarrow.large_binary()}
    return pyarrow.Table.from_pylist([order._asdict() for order in part], pyarrow.schema(columns))


def _part(orders: Iterator[Order]) -> Iterator[Order]:
    """The next images; none only where there are no more."""
    total = 0
    for order in islice(orders, _PART):
        yield order
        total += _bytes_of(order)
        if total > _PART_BYTES:
            return


def _bytes_of(order: Order) -> int:
    return len(order.content or b"")


@contextmanager
def _told() -> Iterator[None]:
    """What ends workers, as one line: of a traceback that of the first error."""
    ray = required("ray", "ray")
    try:
        yield
    except ray.exceptions.RayError as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        first = next(filter(_AN_ERROR.match, lines), lines[-1])
        raise UserError(f"a worker of the cluster ended: {first}{_REMEDY}") from error
