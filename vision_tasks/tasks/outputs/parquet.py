"""`predictions.parquet` (https://parquet.apache.org): a row for each prediction, with what is known of its image.

Columns path, width, height, sha256, then label, score and for boxes x1, y1, x2, y2 in original pixels; or, of masks,
mask (its file), label and pixels. Bytes of a path that are no text stand in it as `\\udcff`, for the byte 255.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from vision_tasks.errors import UserError
from vision_tasks.files import replacing
from vision_tasks.tasks.base import Output, Rows, Table

_NAME = "predictions.parquet"
_AT_ONCE = 10_000  # rows
_IMAGE = {"path": "string", "width": "int32", "height": "int32", "sha256": "string"}
_LABELS = {"label": "string", "score": "double"}
_BOXES = {"x1": "double", "y1": "double", "x2": "double", "y2": "double"}
_AREAS = {"mask": "string", "label": "string", "pixels": "int64"}

Cells = Callable[[dict[str, Any]], Iterable[tuple[Any, ...]]]  # a prediction -> what its rows have behind the image


def parquet_table(boxes: bool = False) -> Table:
    """The format for predictions of `label`, `score` and, if `boxes`, `box`."""
    return Table((_NAME,), partial(_write, _IMAGE | _LABELS | (_BOXES if boxes else {}), _labelled), _require_pyarrow)


def parquet_areas() -> Table:
    """The format for predictions of `mask` and `area`."""
    return Table((_NAME,), partial(_write, _IMAGE | _AREAS, _areas), _require_pyarrow)


def _labelled(prediction: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    return [(prediction["label"], prediction["score"], *prediction.get("box", ()))]


def _areas(prediction: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    mask = _text(prediction["mask"])
    return ((mask, label, pixels) for label, pixels in prediction["area"].items())


def _write(columns: Mapping[str, str], cells: Cells, rows: Rows, output: Output) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(name, kind) for name, kind in columns.items()])
    table = _table(rows, cells)
    with replacing(output.folder / _NAME) as temporary, ParquetWriter(temporary, schema) as file:
        while part := list(islice(table, _AT_ONCE)):
            file.write_table(pa.table(list(map(list, zip(*part, strict=True))), schema=schema))


def _table(rows: Rows, cells: Cells) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        image = _text(row.image), row.size[1], row.size[0], row.sha256
        for prediction in row.predictions:
            yield from ((*image, *cell) for cell in cells(prediction))


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError("--format parquet is written by pyarrow: pip install 'vision-tasks[parquet]'") from error
