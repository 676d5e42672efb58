"""Inference by the machines of a cluster, with Ray Data (https://docs.ray.io/en/latest/data/data.html).

This process walks the sources, keeps what was done, and writes; everything between is done by workers, each of which
has a model. So a call on a cluster can be ended and gone on with as any other, also without the cluster. Images go to
the workers in parts, small ones first, so that all have work; so many parts are a round, memory holds those of one, and
each round starts its workers.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
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
from vision_tasks.engine.engines import AUTO, require_engine
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.image_writer import ImageWriter
from vision_tasks.engine.pending import pending
from vision_tasks.engine.progress import Bar, say
from vision_tasks.engine.reading import Reading
from vision_tasks.engine.sources import Item
from vision_tasks.engine.store import Store
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.models.exported import ExportedModel
from vision_tasks.models.runtime import required
from vision_tasks.types import Failure

CLUSTERS = ("ray",)

_PART = 128  # images, unless a batch is more
_PART_BYTES = 2**26  # of images that are no files of their own
_ROUND = 160  # parts for each worker
_ROUND_BYTES = 2**30  # for each worker, too
_AGAIN = 2  # times that the work of a worker that died is tried
_CPUS = 4  # of a worker without GPU: from there on, several processes are faster than more threads
_PASSED_ON = "VISION_TASKS_"  # variables that hold for all machines
_MANY = 1000  # parts, from where on a worker gets its next one before it has answered
_ON_GPUS = ("torch", "folded", "compile")  # what the engines begin with that can work there
_AN_ERROR = re.compile(r"[\w.]+(Error|Exception|Interrupt): ")
_REMEDY = "each machine must have the same vision_tasks and the weights; the same call goes on"


@dataclass(frozen=True)
class Workers:
    """How the work is spread over a cluster."""

    count: int
    cpus: int  # of each
    gpus: int


def require_cluster(cluster: str | None, engine: str) -> None:
    """Raises UserError for an unknown kind of cluster, an engine that only this machine can choose, a missing extra."""
    if cluster is None:
        return
    if engine == AUTO:
        raise UserError("--engine auto measures on this machine; with --engine-cluster name the engine")
    require_engine(engine)
    if cluster not in CLUSTERS:
        raise unknown_name("cluster", cluster, CLUSTERS)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anyone
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what ends a call is told here
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    for package in ("ray", "pyarrow", "pandas"):
        required(package, "ray")
    context = _data().DataContext.get_current()
    context.enable_progress_bars = False  # there is ours
    context.execution_no_progress_timeout_s = -1  # a large image may take long


def device_of_workers(device: str, engine: str, model: Inference[Any]) -> str:
    """`--device` as workers get it: each GPU is the only one of its worker, and not all engines take one."""
    if isinstance(model.model, ExportedModel) or not engine.startswith(_ON_GPUS):
        return "cpu"
    return "cuda" if device.startswith("cuda") else device


@contextmanager
def work_of(
    ready: Callable[[], Begin], use_gpus: bool, batch_size: int, tile: int | None
) -> Iterator[Callable[[ImageWriter[Any], Store, Bar], OnCluster]]:
    """What works elsewhere, in the block, after `require_cluster`. Raises UserError where none answers or can work."""
    with _connected() as ray:
        workers = spread(use_gpus)
        what = f"a GPU and {workers.cpus} CPUs" if workers.gpus else f"{workers.cpus} CPUs"
        say(f"cluster: {workers.count} workers with {what} each")
        if ray.available_resources().get("CPU", 0) < workers.cpus:
            say("cluster: others use its CPUs; waiting for them")
        # What is divided into tiles takes long, and whatever else has whole batches.
        sizes = (1, batch_size) if tile else (batch_size, max(batch_size, _PART // batch_size * batch_size))
        yield partial(OnCluster, ready, workers, sizes)


@contextmanager
def _connected() -> Iterator[Any]:
    """The cluster that runs, as RAY_ADDRESS or this machine says, or else one of this machine, for the block."""
    ray = required("ray", "ray")
    begun = not ray.is_initialized()
    if begun:
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"no cluster: {reason}; check RAY_ADDRESS, or end what is left by `ray stop`") from error
    try:
        yield ray
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
        raise UserError("no machine of the cluster has CPUs to offer: start some, by `ray start` or its autoscaler")
    if use_gpus and any(gpus for _, gpus in able):
        each = max(1, min(cpus // gpus for cpus, gpus in able if gpus))
        return Workers(sum(min(gpus, cpus // each) for cpus, gpus in able), each, 1)
    each = min(_CPUS, max(cpus for cpus, _ in able))
    return Workers(sum(cpus // each for cpus, _ in able), each, 0)


@dataclass
class OnCluster:
    """Work of a cluster, as of `predict.Work`; inside `work_of`. `ready` is called by each worker."""

    ready: Callable[[], Begin]
    workers: Workers
    sizes: tuple[int, int]  # images of the first parts, and of the largest
    writer: ImageWriter[Any]
    store: Store
    bar: Bar
    done: int = 0
    _underway: dict[str, Item] = field(default_factory=dict)
    _parts: int = 0

    def all(self, walk: Iterable[Item | Failure]) -> None:
        """As of `Work`."""
        orders = self._orders(each.item for each in pending(walk, self.store, self.writer, self._underway))
        while parts := list(self._round(orders)):
            with _told():
                for answer in self._answers(parts):
                    self._take(answer)
            if self._underway:
                raise UserError(f"{some(self._underway)} did not come back from the cluster; the same call goes on")
            parts.clear()  # before the next are made

    def _orders(self, images: Iterable[Item]) -> Iterator[Order]:
        """Those whose content can be had."""
        for item in images:
            try:
                order = Order.of(item)
            except DecodeError as error:
                with self.writer.kept():
                    self.writer.fail(item.name, item.version, str(error))
                self._advance(1)
            else:
                self._underway[item.name] = Item(item.name, item.path, item.version)  # without content
                yield order

    def _round(self, orders: Iterator[Order]) -> Iterator[Any]:
        """The parts of a round, in the cluster's own memory, which goes on to its disks."""
        total = 0
        for _ in range(_ROUND * self.workers.count):
            part = list(_part(orders, self._size()))
            if not part:
                return
            yield required("ray", "ray").put(_table(part))
            total += sum(map(_bytes_of, part))
            if total > _ROUND_BYTES * self.workers.count:
                return

    def _size(self) -> int:
        """Images of the next part: twice as many whenever all workers had one."""
        first, most = self.sizes
        doubled = min(self._parts // self.workers.count, 30)
        self._parts += 1
        return int(min(first * 2**doubled, most))

    def _answers(self, parts: list[Any]) -> Iterator[list[Answer]]:
        """What comes back, in any order, some images at a time."""
        for table in self._dataset(parts).iter_batches(batch_size=None, batch_format="pyarrow"):
            yield [Answer(**row) for row in table.to_pylist()]

    def _dataset(self, parts: list[Any]) -> Any:
        """What Ray Data makes of the parts, as soon as somebody asks for it."""
        data = _data()
        at_work = data.ActorPoolStrategy(
            size=min(self.workers.count, len(parts)), max_tasks_in_flight_per_actor=2 if len(parts) > _MANY else 1
        )
        passed_on = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        with warnings.catch_warnings():
            # How often what died is begun again can't be said otherwise.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            return data.from_arrow_refs(parts).map_batches(
                Worker,
                fn_constructor_args=(self.ready,),
                compute=at_work,
                batch_size=1,  # a part is a row
                batch_format="pyarrow",
                num_cpus=self.workers.cpus,
                num_gpus=self.workers.gpus,
                runtime_env={"env_vars": passed_on} if passed_on else None,
                max_restarts=_AGAIN,
                max_task_retries=_AGAIN,
            )

    def _take(self, answers: list[Answer]) -> None:
        with self.writer.kept():
            for answer in answers:
                outcome = answer.result() if answer.outcome else None
                if answer.problem and (outcome is None or self._underway[outcome.image].is_as_found()):
                    raise UserError(f"a worker of the cluster: {answer.problem}")
                assert outcome is not None
                with self.writer.one(Reading(self._underway.pop(outcome.image))):
                    self.writer.take(outcome, answer.pictures)
        self._advance(len(answers))

    def _advance(self, count: int) -> None:
        self.done += count
        self.bar.advance(count)


def _data() -> Any:
    return import_module("ray.data")


def _table(part: list[Order]) -> Any:
    """One row of lists: what is a row can't be divided, nor put together with others."""
    pyarrow = required("pyarrow", "ray")
    row = {"image": [order.image for order in part], "content": [order.content for order in part]}
    columns = {"image": pyarrow.list_(pyarrow.string()), "content": pyarrow.list_(pyarrow.large_binary())}
    return pyarrow.Table.from_pylist([row], pyarrow.schema(columns))


def _part(orders: Iterator[Order], size: int) -> Iterator[Order]:
    """The next images; none only where there are no more."""
    total = 0
    for order in islice(orders, size):
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
        raise UserError(f"a worker of the cluster ended: {first}; {_REMEDY}") from error
