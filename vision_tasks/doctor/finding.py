"""What the doctor says: one finding for each kind of trouble, with every place where it was met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vision_tasks.errors import some

# error: scores or training are wrong; warning: probably; note: worth knowing, nothing has to be done.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One kind of trouble."""

    kind: str  # stable, for programs: `unreadable`, `same-image-in-two-splits`
    severity: Severity
    what: str  # words for people, to which the number of places belongs
    places: tuple[str, ...] = ()  # files, images, classes; each with what is special about it

    def as_text(self, most: int) -> str:
        """A line with the first few places."""
        return f"{self.what}: {len(self.places)} ({some(self.places, most)})" if self.places else self.what

    def as_record(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {**vars(self), "count": len(self.places), "places": [*self.places]}


def found(kind: str, severity: Severity, what: str, places: Sequence[str]) -> list[Finding]:
    """The finding, where there are any places."""
    return [Finding(kind, severity, what, tuple(places))] if places else []


def below(path: Path, root: Path) -> str:
    """A path as people call it who know what data set is meant."""
    return path.relative_to(root).as_posix() if path != root and path.is_relative_to(root) else path.name


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """In the order in which people should read them."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether there is nothing but notes."""
    return all(finding.severity == "note" for finding in findings)
