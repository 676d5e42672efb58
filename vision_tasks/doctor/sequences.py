"""Frames of one film in several splits: neighbours are nearly the same, even where no two look so to a hash.

A film is told by names: what comes before the number at their end, for ten images or more, where there are several
such beginnings, and classes don't explain them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from vision_tasks.doctor.finding import Finding, found
from vision_tasks.doctor.images import Examination

_FEWEST = 10  # images
_FRAME = re.compile(r"(.*\d.*?)[_\-. ]+[a-z]?\d+", re.IGNORECASE)  # with a digit before: films are numbered, too


def sequence_findings(images: Sequence[Examination], classes: Collection[str]) -> list[Finding]:
    """A finding if frames of one sequence are in more than one split."""
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for each in images:
        if (match := _FRAME.fullmatch(PurePosixPath(each.id).stem)) and match[1] not in classes:
            splits[match[1]][each.split] += 1
    films = {name: counts for name, counts in splits.items() if counts.total() >= _FEWEST}
    shared = [
        f"{name}: {', '.join(f'{split} {count}' for split, count in counts.items())}"
        for name, counts in films.items()
        if len(counts) > 1
    ]
    what = "sequences, by the names of their images, in more than one split"
    return found("sequence-in-two-splits", "note", what, shared if len(films) > 1 else ())
