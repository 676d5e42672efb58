"""Mistakes in label files, told together: nobody has to mend one, read again and meet the next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vision_tasks.errors import UserError

_SHOWN = 3
_KEPT = 1000  # a million rows may all be wrong


class JoinedUserError(UserError):
    """Several errors on one line: the first of each kind before others of the kind, and how many more there are."""

    def __init__(self, messages: Sequence[str], count: int) -> None:
        super().__init__(_in_one_line(messages, count))
        self.messages, self.count = messages, count


class Mistakes:
    """Collects the errors of a pass over files, which `check` raises as one."""

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._count = 0

    def add(self, error: UserError | str) -> None:
        """Take an error, or what it would say; of several in one, each."""
        found, count = (error.messages, error.count) if isinstance(error, JoinedUserError) else ([str(error)], 1)
        self._count += count
        if len(self._messages) < _KEPT:
            self._messages += found

    def check(self) -> None:
        """Raises UserError if there are any."""
        if self._messages:
            raise JoinedUserError(self._messages, self._count)


def _in_one_line(messages: Sequence[str], count: int) -> str:
    kinds: dict[str, str] = {}
    others = []
    for message in messages:
        if kinds.setdefault(_kind(message), message) != message:
            others.append(message.rpartition("; ")[0] or message)  # its remedy is that of the first
    shown = [*kinds.values(), *others][:_SHOWN]
    more = f"; and {count - len(shown)} more mistakes" if count > len(shown) else ""
    return "; also ".join(shown) + more


def _kind(message: str) -> str:
    """The words of `message` without those of the single case: what is in quotes, numbers, files."""
    return re.sub(r"'[^']*'|\S*[\d/\\.]\S*", "", message)
