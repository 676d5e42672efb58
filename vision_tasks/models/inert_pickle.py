"""Pickles of `torch.save` as plain data: nothing that they name is imported or called.

Numbers, texts and plain containers come out as they are, and everything else as a `Record` of what its pickle says of
it. Tensors are records too, until `Archive.tensor` makes one of its bytes.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from vision_tasks.errors import UserError

MAX_PICKLE = 64 << 20  # bytes; a network's takes one or two million, its tensors lie beside it
PROTOCOL = 2  # of torch.save; a later one has operations that allocate what the file asks for
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError)  # what ZipFile says of damage

_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_PICKLE = "data.pkl"

_R = TypeVar("_R")
_Load = Callable[[Any], None]  # of an unpickler


class Record:
    """What a pickle says of an object: the class or function by name, what that was to be called with, the state."""

    path: ClassVar[str] = ""  # `torch.nn.modules.conv.Conv2d`
    args: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *args: Any, **named: Any) -> Self:  # noqa: ARG004 - what it is called with must not matter
        record = super().__new__(cls)
        record.args, record.state = args, {}
        return record

    def __setstate__(self, state: Any) -> None:
        # With slots, a pair of the attributes and the slots.
        attributes = state[0] if isinstance(state, tuple) and state else state
        self.state = attributes if isinstance(attributes, dict) else {}

    def _ignore(self, *given: Any) -> None:
        """What a container of a foreign class holds is not kept."""

    append = extend = add = __setitem__ = _ignore


@dataclass(frozen=True)
class _Storage:
    """Bytes beside the pickle."""

    kind: str  # `torch.HalfStorage`
    key: str
    count: int


class _Ordered(dict[Any, Any]):
    """An OrderedDict without the attributes that it may have."""

    def __init__(self) -> None:
        super().__init__()  # its items follow one by one

    def __setstate__(self, state: Any) -> None:
        pass


class _Set(set[Any]):
    """A set without the attributes that it may have."""

    def __init__(self, members: Sequence[Any] = ()) -> None:
        super().__init__(_keys(members))

    def __setstate__(self, state: Any) -> None:
        pass


def _keys(values: Sequence[Any]) -> Sequence[Any]:
    """Tuples within tuples, and long numbers, can take any time to hash."""
    if any(isinstance(value, tuple) or (isinstance(value, int) and value.bit_length() > 32) for value in values):
        raise pickle.UnpicklingError("a key that no network has")
    return values


_PLAIN: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): _Ordered,
    ("builtins", "set"): _Set,
    ("__builtin__", "set"): _Set,
}


def _loads() -> dict[int, _Load]:
    """What does each operation up to `PROTOCOL`; before a dictionary gets items, their keys are looked at."""
    every = pickle._Unpickler.dispatch
    known = [ord(operation.code) for operation in pickletools.opcodes if operation.proto <= PROTOCOL]
    pairs = slice(None, None, 2)  # of keys and values
    items = {pickle.SETITEM[0]: slice(-2, -1), pickle.SETITEMS[0]: pairs, pickle.DICT[0]: pairs}
    loads: dict[int, _Load] = {code: every[code] for code in known}
    return loads | {code: _with_keys(keys, loads[code]) for code, keys in items.items()}


def _with_keys(keys: slice, load: _Load) -> _Load:
    def careful(unpickler: Any) -> None:
        _keys(unpickler.stack[keys])
        load(unpickler)

    return careful


# The one in C keeps what it has seen in an array, as long as a pickle wants: a few bytes could ask for 64 GB.
class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar[dict[int, _Load]] = _loads()

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        return _PLAIN.get((module, name)) or type(name, (Record,), {"path": path})

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(count, int):
            raise pickle.UnpicklingError("unknown kind of reference")
        return _Storage(getattr(storage, "path", ""), str(key), count)


class Archive:
    """A file that `torch.save` wrote, in its format of an archive; open until the end of its `with`."""

    def __init__(self, file: Path, archive: zipfile.ZipFile, name: str) -> None:
        self._file, self._archive, self._folder = file, archive, name.removesuffix(_PICKLE)

    @classmethod
    def open(cls, file: Path) -> Archive | None:
        """None for a file of another format, and for an archive too damaged to list its members."""
        try:
            archive = zipfile.ZipFile(file)
        except UNREADABLE:
            return None
        pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == _PICKLE]
        if len(pickles) == 1:
            return cls(file, archive, pickles[0])
        archive.close()
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def has(self, name: str) -> bool:
        """Whether it has a member of this name beside the pickle."""
        return self._folder + name in self._archive.namelist()

    @cached_property
    def _pickle(self) -> bytes:
        return self._careful(lambda: self._stored(self._folder + _PICKLE, MAX_PICKLE))

    def mentions(self, name: str) -> bool:
        """Whether the pickle has this text somewhere. Raises UserError where it can't be read."""
        return name.encode() in self._pickle

    def content(self) -> Any:
        """What was saved. Raises UserError for a damaged pickle."""
        return self._careful(lambda: _Unpickler(BytesIO(self._pickle), encoding="utf-8").load())

    def tensor(self, record: Record) -> Tensor:
        """The tensor of a record that `is_tensor`, with memory of its own. Raises UserError if its bytes don't fit."""
        return self._careful(lambda: self._tensor(record))

    def _tensor(self, record: Record) -> Tensor:
        if record.path == _PARAMETER:
            record = record.args[0]
        storage, offset, size, stride = record.args[:4]
        dtype = _DTYPES[storage.kind]
        if self._is_big_endian() or not _is_inside(storage.count, offset, size, stride):
            raise ValueError("a tensor beyond its bytes")
        values = bytearray(self._stored(f"{self._folder}data/{storage.key}", storage.count * dtype.itemsize))
        if not values:
            return torch.empty(size, dtype=dtype)
        return (
            torch.frombuffer(values, dtype=dtype)
            .as_strided(size, stride, offset)
            .clone(memory_format=torch.contiguous_format)
        )

    def _is_big_endian(self) -> bool:
        return self.has("byteorder") and self._stored(f"{self._folder}byteorder", 16) == b"big"

    def _stored(self, name: str, most: int) -> bytes:
        """A member, which is as large as in the file: torch doesn't compress, and a bomb would."""
        member = self._archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > most:
            raise ValueError("a member of unexpected size")
        return self._archive.read(member)

    def _careful(self, read: Callable[[], _R]) -> _R:
        try:
            return read()
        except OSError:
            raise
        # Bytes that are no such pickle make the reader fail in any way.
        except Exception as problem:
            raise UserError(f"{self._file}: not a checkpoint, or damaged ({type(problem).__name__})") from None


def is_tensor(value: Any) -> bool:
    """Whether a record is one of a tensor or of a parameter."""
    return isinstance(value, Record) and value.path in (_TENSOR, _PARAMETER)


def _is_inside(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether a tensor lies within its `count` values and has no more of them: a stride of zero would repeat them."""
    if min(offset, *size, *stride, 0) < 0 or prod(size) > count:
        return False
    return not prod(size) or offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) < count
