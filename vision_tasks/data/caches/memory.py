"""How much memory can be taken: of the machine, or of the container or service that this process runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Of Linux' control groups, the second version and the first: folder, limit, use, and what of it is only cached files.
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping, or being ended by the system; 0 where that is not known.

    `root` is the folder of `proc` and `sys`. Sources: proc(5), MemAvailable; cgroups(7) and the kernel's cgroup-v2.
    """
    with suppress(OSError, ValueError, KeyError):
        machine = 1024 * _table(root / "proc" / "meminfo")["MemAvailable:"]
        return max(0, min([machine, *_left_in_groups(root)]))
    return 0


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each group that this process is in, up to the outermost, may still take."""
    for line in (root / "proc" / "self" / "cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        folder, *names = _GROUPS[1 if controllers else 0]
        if controllers and "memory" not in controllers.split(","):
            continue
        own = root / folder / place.lstrip("/")
        for group in (own, *own.parents):
            if not group.is_relative_to(root / folder):
                break
            # Absent in the outermost group; and without a limit there is the word max.
            with suppress(OSError, ValueError, KeyError):
                yield _left(group, *names)


def _left(group: Path, limit: str, use: str, cached: str) -> int:
    taken = int((group / use).read_text()) - _table(group / "memory.stat")[cached]
    return int((group / limit).read_text()) - taken


def _table(path: Path) -> dict[str, int]:
    """Lines of a name, a number, and perhaps a unit."""
    return {words[0]: int(words[1]) for words in map(str.split, path.read_text().splitlines())}
