"""`predictions.jsonl`: a line of JSON for each image. It is always written, and what was predicted is what it says.

{"image": path relative to its source, "width", "height", "sha256", "predictions": [...]}

It is UTF-8. Bytes of a file's name that are not stand in it as JSON's escapes of what Python reads them as, `\\udcff`
for the byte 255 (PEP 383): so reading a line gives the name by which the file is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vision_tasks.tasks.base import Format, Output, Predicted, Write

_NAME = "predictions.jsonl"
_UNDECODABLE = "surrogateescape"  # as earlier versions wrote names that are no text


@contextmanager
def _open(output: Output) -> Iterator[Write[Any]]:
    # Buffered by the line: what a killed process leaves are whole lines.
    with (output.folder / _NAME).open("w", 1, encoding="utf-8", newline="\n") as file:

        def write(image: Predicted[Any]) -> None:
            row = {
                "image": image.image,
                "width": image.size[1],
                "height": image.size[0],
                "sha256": image.sha256,
                "predictions": image.rows,
            }
            file.write(in_text(row) + "\n")

        yield write


JSONL: Format[Any] = Format((_NAME,), _open)


def in_text(row: dict[str, Any]) -> str:
    """The row as JSON that UTF-8 can hold: readable where it is text, else escaped."""
    line = json.dumps(row, ensure_ascii=False, allow_nan=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(row, allow_nan=False)
    return line


def written_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """What was written so far, image by image; a line that a full disk has cut off is left out."""
    with (folder / _NAME).open(encoding="utf-8", errors=_UNDECODABLE, newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
