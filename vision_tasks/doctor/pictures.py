"""Findings about the pictures themselves: unreadable files, sizes, what is stored besides 8-bit RGB, flat ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from vision_tasks.doctor.finding import Finding, Severity, found
from vision_tasks.doctor.header import Header
from vision_tasks.doctor.images import Examination, Look
from vision_tasks.types import Size

FLAT = 2.0  # standard deviation of grey levels
_EXTREME = 4.0  # times the middle aspect ratio, or a quarter of it
_SMALL = 16  # pixels

_SHARES: tuple[tuple[str, Severity, str, Callable[[Header], bool], Callable[[Header], str]], ...] = (
    (
        "turned-by-exif", "note", "images turned by their EXIF orientation, which some tools don't do",
        lambda header: header.orientation != 1, lambda header: f"orientation {header.orientation}",
    ),
    (
        "more-than-one-frame", "warning", "files of more than one frame or page, of which the first is read",
        lambda header: header.frames > 1, lambda header: f"{header.frames} frames",
    ),
    (
        "more-than-8-bits", "note", "images of more than 8 bits a channel, scaled by the range of their type",
        lambda header: header.bits > 8, lambda header: f"{header.bits} bits, {header.mode}",
    ),
    (
        "tiny-image", "warning", f"images with a side of less than {_SMALL} pixels",
        lambda header: min(header.size) < _SMALL, lambda header: said_size(header.size),
    ),
)  # fmt: skip


def picture_findings(images: Sequence[Examination]) -> list[Finding]:
    """Everything about files and pixels but duplicates."""
    unreadable = [f"{each.id}: {each.problem}" for each in images if each.problem]
    findings = found("unreadable", "error", "images that can't be read", unreadable)
    headers = [(each, each.header) for each in images if each.header]
    for kind, severity, what, applies, detail in _SHARES:
        places = [f"{each.id}: {detail(header)}" for each, header in headers if applies(header)]
        findings += found(kind, severity, what, places)
    findings += [*_sizes([header for _, header in headers]), *_aspects(headers), *_modes(headers)]
    return findings + _looks([(each, each.look) for each in images if each.look])


def said_size(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _sizes(headers: Sequence[Header]) -> list[Finding]:
    sizes = Counter(header.size for header in headers)
    if len(sizes) < 2:
        return []
    most = [f"{said_size(size)}: {count}" for size, count in sizes.most_common()]
    smallest, largest = (said_size(pick(sizes, key=_area)) for pick in (min, max))
    what = f"sizes, {smallest} to {largest}"
    return [Finding("sizes", "note", what, tuple(most))]


def _area(size: Size) -> int:
    return size[0] * size[1]


def _aspects(headers: Sequence[tuple[Examination, Header]]) -> list[Finding]:
    """Pictures of which a crop or a letterbox leaves little."""
    aspects = sorted(header.size[1] / header.size[0] for _, header in headers)
    middle = aspects[len(aspects) // 2] if aspects else 1
    far = [
        f"{each.id}: {said_size(header.size)}"
        for each, header in headers
        if not 1 / _EXTREME <= header.size[1] / header.size[0] / middle <= _EXTREME
    ]
    what = f"images over {_EXTREME:g} times as wide or as high, for their size, as most are"
    return found("extreme-aspect", "warning", what, far)


def _modes(headers: Sequence[tuple[Examination, Header]]) -> list[Finding]:
    modes = Counter(f"{header.format} {header.mode}".strip() for _, header in headers)
    if len(modes) < 2:
        return []
    listed = [f"{mode}: {count}" for mode, count in modes.most_common()]
    return [Finding("modes", "note", "ways in which images are stored", tuple(listed))]


def _looks(images: Sequence[tuple[Examination, Look]]) -> list[Finding]:
    alpha = Counter(look.alpha for _, look in images if look.alpha is not None)
    findings = [
        Finding("constant-alpha", "note", f"an alpha that is {value} everywhere says nothing, in {count} images")
        for value, count in alpha.items()
    ]
    grey = [each for each, look in images if look.grey and each.header and each.header.mode in ("RGB", "RGBA")]
    if grey and len(grey) < len(images):
        what = f"grey images, stored as colours, among {len(images) - len(grey)} that are coloured"
        findings.append(Finding("grey-among-colours", "note", what, tuple(each.id for each in grey)))
    flat = [f"{each.id}: {look.deviation:.2f}" for each, look in images if look.deviation < FLAT]
    what = f"nearly flat images, whose grey levels have a standard deviation below {FLAT:g}"
    return findings + found("flat", "note", what, flat)
