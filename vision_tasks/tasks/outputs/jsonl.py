"""`predictions.jsonl`: a line of JSON for each image. It is always written, and what was predicted is what it says.

{"image": path relative to its source, "width", "height", "sha256", "predictions": [...]}

It is UTF-8. Bytes of a file's name that are not stand in it as JSON's escapes of what Python reads them as, `\\udcff`
for the byte 255 (PEP 383): so reading a line gives the name by which the file is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vision_tasks.files import replacing
from vision_tasks.tasks.base import Output, Rows, Table

_NAME = "predictions.jsonl"


def _write(rows: Rows, output: Output) -> None:
    write_lines(
        output.folder / _NAME,
        (
            {
                "image": row.image,
                "width": row.size[1],
                "height": row.size[0],
                "sha256": row.sha256,
                "predictions": row.predictions,
            }
            for row in rows
        ),
    )


JSONL = Table((_NAME,), _write)


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace `path` by a line of JSON for each of `lines`, in one step."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{_in_text(line)}\n" for line in lines)


def _in_text(line: dict[str, Any]) -> str:
    """As JSON that UTF-8 can hold: readable where it is text, else escaped."""
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(line, allow_nan=False)
    return text
