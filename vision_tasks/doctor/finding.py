"""What the doctor says: one finding for each kind of trouble, with every place where it was met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# error: scores or training are wrong; warning: probably; note: worth knowing, nothing has to be done.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One kind of trouble."""

    kind: str  # stable, for programs: `unreadable`, `same-image-in-two-splits`
    severity: Severity
    what: str  # a sentence for people
    places: tuple[str, ...] = ()  # files, images, classes; each with what is special about it


def found(kind: str, severity: Severity, what: str, places: Sequence[str]) -> list[Finding]:
    """The finding, where there are any places; `{n}` in `what` is their number."""
    return [Finding(kind, severity, what.replace("{n}", str(len(places))), tuple(places))] if places else []


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """In the order in which people should read them."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether there is nothing but notes."""
    return all(finding.severity == "note" for finding in findings)
