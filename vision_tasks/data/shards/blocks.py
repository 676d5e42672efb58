"""Parts of far files, held while they are read around: what lies side by side is fetched once, together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

Fetch = Callable[[str, int, int], bytes]  # (file, start, end) -> its bytes, fewer where the file ends before

BLOCK = 1 << 22  # bytes fetched at once: at 100 Mbit/s a third of a second, in which a request's delay is lost
HELD = 1 << 29  # bytes


class Blocks:
    """Reads far files by blocks of which the last used ones are held; for any number of threads.

    Whoever asks for a block that another thread is fetching waits for that.
    """

    def __init__(self, fetch: Fetch, held: int = HELD, block: int = BLOCK) -> None:
        self._fetch, self._block = fetch, block
        self._most = max(1, held // block)
        self._blocks: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        self._lock = Lock()

    def read(self, file: str, start: int, length: int) -> bytes:
        """The bytes of `file` from `start` on, fewer where it ends before. Raises what fetching raises."""
        first, last = start // self._block, (start + length - 1) // self._block
        joined = b"".join(self._get(file, number) for number in range(first, last + 1))
        begin = start - first * self._block
        return joined[begin : begin + length]

    def _get(self, file: str, number: int) -> bytes:
        key = file, number
        with self._lock:
            wanted = self._blocks.get(key)
            if mine := wanted is None:
                wanted = self._blocks[key] = Future()
                while len(self._blocks) > self._most:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(key)
        if mine:
            self._fill(key, wanted)
        return wanted.result()

    def _fill(self, key: tuple[str, int], wanted: Future[bytes]) -> None:
        file, number = key
        try:
            wanted.set_result(self._fetch(file, number * self._block, (number + 1) * self._block))
        except BaseException as error:
            with self._lock:  # the next who asks shall try again
                self._blocks.pop(key, None)
            wanted.set_exception(error)
