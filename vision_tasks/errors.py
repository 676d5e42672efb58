"""The one kind of error that is the user's to mend: it becomes a single `error:` line and exit code 2."""

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 40  # names that an answer to a wrong one shows at most


class UserError(Exception):
    """Bad input. The message is one line that names the thing and the remedy."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """The answer to a wrong name: the nearest right one, or the list of right ones."""
    names = sorted(known)
    lower = {entry.lower(): entry for entry in names}
    near = [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {some(names, _LISTED)}"
    return UserError(f"unknown {what} '{name}'; {hint}")


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of `names`, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
