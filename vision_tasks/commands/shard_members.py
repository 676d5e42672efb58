"""What is written of one sample into a shard: its image as it is, and what is true of it, in the forms that are read
back by `data/readers/shard_labels.py`, `shard_boxes.py` and `shard_masks.py`."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vision_tasks.data.folders import is_image
from vision_tasks.data.header import bytes_of
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Labels, Masks, Sample, Size

Members = dict[str, bytes]  # extension -> content

_TURNED = 5  # EXIF orientations from here on swap height and width
_ORIENTATION = 0x0112


def members_of(sample: Sample[Any], classes: Sequence[str], image_id: int | None) -> Members:
    """The members of a sample by their extensions, the image first.

    Raises DecodeError and UserError where its file or its truth can't be read.
    """
    extension, data = _image(sample)
    size = _size_of(data)
    record: dict[str, Any] = {"image": sample.id}
    if image_id is not None:
        record["image_id"] = image_id
    if size is not None:
        record |= {"width": size[1], "height": size[0]}
    said, others = _said(sample.truth(size), classes)
    text = json.dumps(record | said, separators=(",", ":"), allow_nan=False)
    return {extension: data, "json": text.encode(), **others}


def _image(sample: Sample[Any]) -> tuple[str, bytes]:
    """The extension and the bytes of a sample's image; of one that has no file of its own, those of a PNG."""
    if sample.pixels is not None:
        done, data = cv2.imencode(".png", np.ascontiguousarray(sample.pixels()[..., ::-1]))
        assert done
        return "png", data.tobytes()
    return (sample.path.suffix[1:].lower() if is_image(sample.path.name) else "img"), bytes_of(sample)


def _size_of(data: bytes) -> Size | None:
    """(height, width) after EXIF rotation, by the header; None of what has none, which whoever decodes it will say."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION, 1) >= _TURNED and opened.format != "TIFF"
    except Exception:  # Pillow's plugins raise many kinds
        return None
    return (width, height) if turned else (height, width)


@singledispatch
def _said(truth: Any, classes: Sequence[str]) -> tuple[dict[str, Any], Members]:
    """What is true of a sample: a part of its JSON, and members of their own."""
    raise UserError(f"{type(truth).__name__}: shards can't hold such truth")


@_said.register
def _(truth: Labels, classes: Sequence[str]) -> tuple[dict[str, Any], Members]:
    labels = truth.weight[0].nonzero().flatten().tolist()
    own = {"cls": str(labels[0]).encode()} if len(labels) == 1 else {}
    return {"labels": [classes[label] for label in labels]}, own


@_said.register
def _(truth: Boxes, classes: Sequence[str]) -> tuple[dict[str, Any], Members]:
    areas = [math.nan] * truth.label.shape[1] if truth.area is None else truth.area[0].tolist()
    rows = zip(truth.xyxy[0].tolist(), truth.label[0].tolist(), truth.crowd[0].tolist(), areas, strict=True)
    objects = []
    for box, label, crowd, area in rows:
        one = {"label": classes[label], "box": box}
        if crowd:
            one["crowd"] = True
        if not math.isnan(area):
            one["area"] = area
        objects.append(one)
    return {"objects": objects}, {}


@_said.register
def _(truth: Masks, classes: Sequence[str]) -> tuple[dict[str, Any], Members]:
    done, data = cv2.imencode(".png", truth.index[0].numpy())
    assert done
    return {}, {"mask.png": data.tobytes()}
