"""Which files a tar holds, and where: by its headers alone, from first to last, without a file system in sight.

Format: POSIX ustar and pax (IEEE 1003.1, "pax", sections "ustar Interchange Format" and "pax Extended Header"), and GNU
tar's long names and binary numbers (GNU tar manual, "Basic Tar Format"). Folders, links, devices and sparse files are
passed over: nothing here is ever written, so a name can do no harm. What is declared is believed only as far as the
file reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Read = Callable[[int, int], bytes]  # (start, length) -> as many bytes; raises DecodeError

_BLOCK = 512
_END = bytes(_BLOCK)
_CHECKSUM = slice(148, 156)
_PLAIN = (b"0", b"\0", b"7")
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"x", b"g"
_MOST_EXTRA = 1 << 20  # bytes of a long name or of pax records; paths have thousands at most


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int  # of its first byte, from the start of the tar
    size: int


class Listing(NamedTuple):
    """What the headers say."""

    members: tuple[Member, ...]  # plain files that are there completely, in order
    problem: str  # why it ends before its end, "" if it doesn't


class _BrokenError(Exception):
    """A header that makes no sense."""


def list_members(read: Read, size: int) -> Listing:
    """The files of a tar of `size` bytes, up to its end or to where it is cut short or damaged."""
    members: list[Member] = []
    at = 0
    extra = _Extra()
    while at + _BLOCK <= size:
        block = read(at, _BLOCK)
        if block == _END:
            return Listing(tuple(members), "")
        try:
            kind, length = _kind_and_size(block)
            start, length = at + _BLOCK, length if extra.size is None else extra.size
            if start + length > size:
                return Listing(tuple(members), f"is cut short: it ends at byte {size}, in the middle of a file")
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
                extra = extra.after(kind, _text_of(read, start, length))
            else:
                if kind in _PLAIN:
                    members.append(Member(extra.name or _name(block), start, length))
                extra = _Extra()
        except _BrokenError as broken:
            return Listing(tuple(members), f"is damaged at byte {at} ({broken}): what follows is lost")
        at = start + -(-length // _BLOCK) * _BLOCK
    what = "is empty" if not size else f"is cut short: it ends at byte {size}, without the mark of its end"
    return Listing(tuple(members), what)


class _Extra(NamedTuple):
    """What precedes a header and replaces what is in it."""

    name: str = ""
    size: int | None = None

    def after(self, kind: bytes, text: bytes) -> _Extra:
        """With what a long name or pax records say; records for all files that follow say nothing that counts here."""
        if kind == _LONG_NAME:
            return self._replace(name=_decoded(text))
        if kind == _PAX:
            records = _pax_records(text)
            size = _decimal(records[b"size"]) if b"size" in records else self.size
            return _Extra(_decoded(records.get(b"path", b"")) or self.name, size)
        return self


def _kind_and_size(block: bytes) -> tuple[bytes, int]:
    """The type of a header's file and how many bytes follow. Raises _BrokenError where its checksum is wrong."""
    said = _number(block[_CHECKSUM])
    if sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ") != said:
        raise _BrokenError("no header of a tar")
    kind, size = block[156:157], _number(block[124:136])
    return kind, 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else size  # these have a size, but no bytes


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's numbers beyond octal digits; a negative one can be no size
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else _negative()
    digits = field.strip(b" \0")
    if digits and not all(0x30 <= digit <= 0x37 for digit in digits):
        raise _BrokenError("no header of a tar")
    return int(digits or b"0", 8)


def _negative() -> int:
    raise _BrokenError("a size below 0")


def _name(block: bytes) -> str:
    name, prefix = block[:100].split(b"\0", 1)[0], b""
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
    return _decoded(prefix + b"/" + name if prefix else name)


def _decoded(name: bytes) -> str:
    return name.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _text_of(read: Read, start: int, length: int) -> bytes:
    if length > _MOST_EXTRA:
        raise _BrokenError(f"a name of {length} bytes")
    return read(start, length)


def _pax_records(text: bytes) -> dict[bytes, bytes]:
    """Records `LENGTH KEY=VALUE\\n`, whose length counts itself."""
    records = {}
    while text.strip(b"\0"):
        digits, space, _ = text.partition(b" ")
        length = _decimal(digits)
        key, equals, value = text[len(digits) + 1 : length].partition(b"=")
        if not (space and equals and value.endswith(b"\n")):
            raise _BrokenError("pax records that make no sense")
        records[key] = value[:-1]
        text = text[length:]
    return records


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise _BrokenError("pax records that make no sense")
    return int(digits)
