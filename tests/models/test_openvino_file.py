"""Images that OpenVINO computes side by side, by a stand-in that says what was asked of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vision_tasks.models.openvino_file import _Network, _Requests

pytest.importorskip("openvino")

PIXELS = np.zeros((3, 4, 4, 3), np.float32)


class Compiled:
    """A network with an output [1,2] that computes so many images at once."""

    def __init__(self, at_once: int, fails: int | None = None) -> None:
        self.outputs = [SimpleNamespace(shape=(1, 2))]
        self.at_once = at_once
        self.made: list[Request] = []
        self.fails = fails  # which request can't be started

    def get_property(self, name: str) -> int:
        assert name == "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
        return self.at_once

    def create_infer_request(self) -> Request:
        self.made.append(Request(len(self.made) == self.fails))
        return self.made[-1]


class Request:
    """As openvino's."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.underway = False

    def set_output_tensor(self, place: int, tensor: Any) -> None:
        assert not self.underway

    def start_async(self, inputs: Any, share_inputs: bool) -> None:
        if self.fails:
            raise RuntimeError("out of memory")
        self.underway = True

    def wait(self) -> None:
        self.underway = False


def test_what_is_underway_is_waited_for_after_an_error() -> None:
    """It writes into memory that is given free; and nobody knows what state the requests are in."""
    compiled = Compiled(2, fails=1)
    requests = _Requests(compiled, 2)
    before = list(compiled.made)
    assert len(before) == 4
    with pytest.raises(RuntimeError, match="out of memory"):
        requests(PIXELS)
    assert not any(each.underway for each in before)
    assert requests(PIXELS)[0].shape == (3, 2)
    assert not any(each.underway for each in compiled.made)


def test_a_network_is_made_for_as_many_images_as_come_and_there_are_threads() -> None:
    asked: list[int] = []
    network = _Network(lambda count: asked.append(count) or Compiled(count), threads=8)  # type: ignore[func-returns-value]
    for count in (3, 2, 16, 20, 4, 0):
        network(torch.zeros(count, 3, 4, 4))
    assert asked == [3, 8]
