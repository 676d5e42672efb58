"""Headers of JPEGs, judged by Pillow's reading of the same files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vision_tasks.data.jpeg import plain_jpeg


def _jpeg(mode: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, len(mode)), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"comment": b"a remark"},
        {"icc_profile": b"no real profile" * 9000},  # in several segments
        {"restart_marker_rows": 1},
        {"subsampling": 0, "quality": 100, "optimize": True},
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_a_plain_header_equals_pillows(mode: str, options: dict[str, Any]) -> None:
    data = _jpeg(mode, **options)
    stream = io.BytesIO(data)
    judge = Image.open(stream)
    found = plain_jpeg(data)
    assert found is not None
    assert (found.size, found.mode) == ((judge.height, judge.width), judge.mode)
    assert data[found.body : found.body + 2] == b"\xff\xda"
    assert found.body <= stream.tell()


def test_what_may_be_turned_or_is_no_rgb_is_left_to_others() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert plain_jpeg(_jpeg("RGB", exif=exif)) is None
    assert plain_jpeg(_jpeg("CMYK")) is None
    assert plain_jpeg(_jpeg("RGB", xmp=b"<x:xmpmeta/>")) is None


def test_no_beginning_of_a_file_is_taken_for_a_header() -> None:
    data = _jpeg("RGB")
    found = plain_jpeg(data)
    assert found is not None
    for length in range(found.body):
        assert plain_jpeg(data[:length]) is None
    assert plain_jpeg(b"\x89PNG" + data) is None


def test_damaged_segments_end_the_reading() -> None:
    data = bytearray(_jpeg("RGB"))
    data[4:6] = b"\0\0"  # the length of the first segment
    assert plain_jpeg(bytes(data)) is None
