"""The network works on the next batch while what it said of this one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from vision_tasks.engine.evaluate import Inference
from vision_tasks.types import Batch, T


def predicted_ahead(model: Inference[T], batches: Iterable[Batch[T]]) -> Generator[tuple[Batch[T], T | None]]:
    """Each batch with its predictions on the CPU; None where none of its images could be read.

    What the network raises is raised here, when its batch is due.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="network")  # one: which batch comes first stays as it is
    underway: deque[tuple[Batch[T], Future[T] | None]] = deque()
    try:
        for batch in batches:
            underway.append((batch, pool.submit(_predict, model, batch) if batch.info else None))
            if len(underway) > 1:
                yield _due(*underway.popleft())
        while underway:
            yield _due(*underway.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _predict(model: Inference[T], batch: Batch[T]) -> T:
    return model(batch.images).to("cpu")


def _due(batch: Batch[T], future: Future[T] | None) -> tuple[Batch[T], T | None]:
    return batch, None if future is None else future.result()
