"""Work for a device beside what its networks do, and how long these wait for it; all of it that only CUDA has.

Elsewhere work is done where it is asked for, marks are passed as soon as they are made, and a clock on the wall tells
how long was waited.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor


class Mark(Protocol):
    """A place in a lane's work."""

    def wait(self) -> None:
        """Go on when the work before it is done."""

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """Let the current stream go on with `tensors` when they are done; their memory stays theirs until it is."""


class Lane(Protocol):
    """Where a device's work is put without waiting for it; `pinned` memory can be copied from meanwhile."""

    pinned: bool

    def work(self) -> AbstractContextManager[object]:
        """The block in which work goes there."""

    def mark(self) -> Mark:
        """A mark behind all work so far."""


class Clock(Protocol):
    """How long a device had nothing to do, for its data was not there."""

    def asked(self) -> None:
        """Everything is done, as far as it was given."""

    def arrived(self) -> None:
        """The data is there."""

    def taken(self) -> float:
        """Seconds waited, as far as they are known and were not told before."""


def lane_for(device: torch.device) -> Lane:
    return SideStream(device) if device.type == "cuda" else Here()


def clock_for(device: torch.device) -> Clock:
    return EventClock() if device.type == "cuda" else WallClock()


class Here:
    """The lane of a device that is the CPU."""

    pinned = False

    def work(self) -> AbstractContextManager[object]:
        return nullcontext()

    def mark(self) -> Mark:
        return Passed()


class Passed:
    """A mark behind work that is done."""

    def wait(self) -> None:
        pass

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        pass


class SideStream:
    """A stream of its own of a CUDA device."""

    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def work(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def mark(self) -> Mark:
        return EventMark(self._stream.record_event())


class EventMark:
    """A mark of a CUDA stream."""

    def __init__(self, event: torch.cuda.Event) -> None:
        self._event = event

    def wait(self) -> None:
        self._event.synchronize()

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            stream = torch.cuda.current_stream(tensor.device)
            stream.wait_event(self._event)
            tensor.record_stream(stream)


class WallClock:
    """Waiting as the program sees it, which is the device's where both are one."""

    def __init__(self) -> None:
        self._start = self._waited = 0.0

    def asked(self) -> None:
        self._start = time.perf_counter()

    def arrived(self) -> None:
        self._waited += time.perf_counter() - self._start

    def taken(self) -> float:
        waited, self._waited = self._waited, 0.0
        return waited


class EventClock:
    """Waiting as a CUDA device sees it: from the end of the work it was given until the next can begin."""

    def __init__(self) -> None:
        self._start: torch.cuda.Event | None = None
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def asked(self) -> None:
        self._start = _event_now()

    def arrived(self) -> None:
        assert self._start is not None
        self._spans.append((self._start, _event_now()))

    def taken(self) -> float:
        over = [span for span in self._spans if span[1].query()]  # type: ignore[no-untyped-call]
        self._spans = self._spans[len(over) :]  # a stream keeps the order
        return sum(float(start.elapsed_time(end)) for start, end in over) / 1000


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a CUDA device."""
    return int(torch.cuda.mem_get_info(device)[0])


def _event_now() -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event
