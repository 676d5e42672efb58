"""Findings about pictures that are there more than once: the same file, the same pixels, nearly the same picture.

What a split that is scored shares with one that is trained on is the worst that data can have: scores then say how
well the network remembers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.doctor.finding import Finding, found
from vision_tasks.doctor.images import Examination, pixel_digest
from vision_tasks.doctor.perceptual import HAMMING_LIMIT, near_pairs
from vision_tasks.types import Sample

Group = list[Examination]
_Pair = tuple[int, Examination, Examination]  # bits that differ

_LEAST_SIDE = 48  # pixels: digits and icons of one kind look the same, and are not


def duplicate_findings(images: Sequence[Examination], samples: Mapping[str, Sample[Any]]) -> list[Finding]:
    """Everything about images that others repeat; `samples` by id, of which some are decoded again to be sure."""
    readable = [each for each in images if not each.problem]
    files = _same([each for each in readable if each.digest], lambda each: each.digest)
    first = {each.id for group in files for each in group[1:]}
    others = [each for each in readable if each.id not in first]  # one of each file is enough from here on
    pixels = _same_pixels([each for each in others if each.look], samples)
    taken = {each.id for group in pixels for each in group[1:]}
    near = _near([each for each in others if each.id not in taken and _is_large(each)])
    return [*_of_exact("file", files), *_of_exact("pixels", pixels), *near]


def _same(images: Iterable[Examination], key: Callable[[Examination], Any]) -> list[Group]:
    groups: dict[Any, Group] = defaultdict(list)
    for each in images:
        groups[key(each)].append(each)
    return [group for group in groups.values() if len(group) > 1]


def _same_pixels(images: Sequence[Examination], samples: Mapping[str, Sample[Any]]) -> list[Group]:
    """Groups of the same pixels: those that agree in small are decoded again, the others can't be."""

    def in_small(each: Examination) -> Any:
        return each.look and (each.header and each.header.size, each.look.hash, each.look.thumb.tobytes())

    def in_full(each: Examination) -> Any:
        try:
            return pixel_digest(samples[each.id])
        except DecodeError:  # it was read a moment ago: somebody is at work there
            return each.id

    return [group for alike in _same(images, in_small) for group in _same(alike, in_full)]


def _of_exact(what: str, groups: Sequence[Group]) -> list[Finding]:
    across = [_said(group) for group in groups if len({each.split for each in group}) > 1]
    within = [_said(group) for group in groups if len({each.split for each in group}) == 1]
    differing = [_said(group) for group in groups if len({each.truth.digest for each in group if each.truth}) > 1]
    same = "are the same file" if what == "file" else "have the same pixels"
    return [
        *found(f"same-{what}-in-two-splits", "error", f"images that {same} in more than one split", across),
        *found(f"same-{what}", "warning", f"images that {same}", within),
        *found(f"same-{what}-other-truth", "error", f"images that {same}, with other truth", differing),
    ]


def _said(group: Group) -> str:
    return " = ".join(each.id for each in group)


def _is_large(each: Examination) -> bool:
    return each.look is not None and each.header is not None and min(each.header.size) >= _LEAST_SIDE


def _near(images: Sequence[Examination]) -> list[Finding]:
    looks = [each.look for each in images if each.look]
    if not looks:
        return []
    hashes, thumbs = np.array([look.hash for look in looks], np.uint64), np.stack([look.thumb for look in looks])
    across: list[_Pair] = []
    within: list[_Pair] = []
    for one, other in near_pairs(hashes, thumbs).tolist():
        pair = int(hashes[one] ^ hashes[other]).bit_count(), images[one], images[other]
        (within if pair[1].split == pair[2].split else across).append(pair)
    what = (
        f"pairs of images, {{where}}, that look nearly the same (at most {HAMMING_LIMIT} of 64 bits of a hash differ)"
    )
    return [
        *found("near-duplicate-in-two-splits", "warning", what.format(where="in two splits"), _nearest_first(across)),
        *found("near-duplicate", "note", what.format(where="in one split"), _nearest_first(within)),
    ]


def _nearest_first(pairs: Sequence[_Pair]) -> list[str]:
    return [f"{a.id} ~ {b.id}: {apart} bits" for apart, a, b in sorted(pairs, key=lambda pair: pair[0])]
