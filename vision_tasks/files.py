"""Files replaced so that readers, and crashes, find the old content or the new, never a part; one writer a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vision_tasks.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; at the end of the block it takes the place of `path` in one step.

    If the block fails, `path` stays as it was and the temporary file is gone.
    """
    # In the same folder: only there is a rename one step.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch()
    usual_permissions = temporary.stat().st_mode
    try:
        yield temporary
        # Some writers make their files readable by their owner only.
        temporary.chmod(usual_permissions)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk gives no name; whoever reads the error wants one.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, busy: str) -> Iterator[None]:
    """Nobody else who asks the same works in `folder` meanwhile. Raises UserError, worded `busy`, if somebody does."""
    lock = FileLock(folder / ".lock", blocking=False, is_singleton=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(busy) from None
    try:
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Replace the text of `path`; names of files with undecodable bytes keep them."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def read_text(path: Path) -> str:
    """What `write_text` wrote."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def read_lines(path: Path) -> list[Any]:
    """The JSON value of each line; none where the file isn't there yet."""
    return [json.loads(line) for line in read_text(path).splitlines()] if path.exists() else []


def append_text(path: Path, text: str) -> None:
    """Add to the end of `path`."""
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Replace `path` by a safetensors file of copies of `tensors` on the CPU.

    Raises UserError where it can't be written, on a full disk for instance; `path` is then what it was.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as temporary:
            save_file(on_cpu, temporary, metadata=dict(metadata))
    except (OSError, SafetensorError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise UserError(f"{path}: can't be written ({reason}); make room, what was there before is kept") from problem
