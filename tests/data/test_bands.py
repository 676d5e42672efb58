"""Chosen bands: TIFFs as rasterio writes them, ordinary files by their channels, and values as bytes by hand."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vision_tasks.data import decode as decoding
from vision_tasks.data import geotiff
from vision_tasks.data.bands import to_bytes
from vision_tasks.data.decode import DecodeError, count_bands, decode, first_band_count, read_image
from vision_tasks.errors import UserError
from vision_tasks.types import Bands, Labels, Sample
from vision_tasks.warp import warp_into

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

RANDOM = np.random.default_rng(0)


def write_tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """`values` [bands,h,w] as a GeoTIFF."""
    rasterio = pytest.importorskip("rasterio")
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(values)
    return path


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(kind: str = "uint16", bands: int = 13, size: tuple[int, int] = (37, 50)) -> NDArray[Any]:
    info = np.iinfo(kind)
    return RANDOM.integers(info.min, info.max, (bands, *size), dtype=kind, endpoint=True)


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        (np.array([0, 7, 255], np.uint8), None, [0, 7, 255]),
        (np.array([0, 128, 129, 257 * 100, 65535], np.uint16), None, [0, 0, 1, 100, 255]),
        (np.array([-32768, -1, 0, 16384, 32767], np.int16), None, [0, 0, 0, 128, 255]),
        (np.array([0, 1500, 3000, 3001, 65535], np.uint16), (0, 3000), [0, 128, 255, 255, 255]),
        (np.array([100, 110, 90], np.uint8), (100, 110), [0, 255, 0]),
        (np.array([-1, 0, 0.5, 1, 2, np.nan, np.inf, -np.inf], np.float32), (0, 1), [0, 0, 128, 255, 255, 0, 255, 0]),
        (np.array([0, 2**31, 2**32 - 1], np.uint32), None, [0, 128, 255]),
    ],
)
def test_values_as_bytes(values: NDArray[Any], limits: tuple[float, float] | None, expected: list[int]) -> None:
    assert to_bytes(values, limits).tolist() == expected
    assert to_bytes(values, limits).dtype == np.uint8


def test_numbers_without_a_range_are_an_error() -> None:
    with pytest.raises(DecodeError, match="--band-range LOW,HIGH"):
        to_bytes(np.zeros(3, np.float32))
    with pytest.raises(DecodeError, match="complex"):
        to_bytes(np.zeros(3, np.complex64), (0, 1))


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"interleave": "pixel"},
        {"interleave": "band", "compress": "lzw", "predictor": 2},
        {"compress": "deflate", "interleave": "pixel"},
        {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw"},
        {"BIGTIFF": "YES"},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16"])
def test_bands_of_every_layout(tmp_path: Path, layout: dict[str, Any], kind: str) -> None:
    values = noise(kind)
    path = write_tiff(tmp_path / "a.tif", values, **layout)
    assert count_bands(path) == 13
    decoded = read_image(path, bands=Bands((4, 3, 13, 4)))
    chosen = values[[3, 2, 12, 3]].transpose(1, 2, 0).astype(np.float64)
    assert np.array_equal(decoded.pixels, np.rint(chosen.clip(0) * 255 / np.iinfo(kind).max))
    assert (decoded.size, decoded.reduction) == ((37, 50), 1)
    assert np.array_equal(decoded.to_original, np.eye(3))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("int16", {}),
        ("uint16", {}),
        ("uint8", {}),
        ("uint8", {"nbits": 4}),
        ("uint8", {"nbits": 2}),
        ("uint8", {"nbits": 1}),
    ],
)
def test_one_band_is_as_bright_as_the_image_read_without_bands(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    values = noise(kind, 1)
    if options:
        values %= 2 ** options["nbits"]
    path = write_tiff(tmp_path / "a.tif", values, photometric="MINISBLACK", **options)
    plain = read_image(path).pixels[..., :1].astype(int)
    # Pillow drops the lower half of 16 bits, instead of rounding.
    assert np.abs(read_image(path, bands=Bands((1,))).pixels - plain).max() <= (1 if values.itemsize > 1 else 0)
    assert plain.max() == 255


def test_indices_of_a_palette_are_bands_as_they_are(tmp_path: Path) -> None:
    values = noise("uint8", 1) % 16
    path = write_tiff(tmp_path / "a.tif", values, photometric="PALETTE", nbits=4)
    assert np.array_equal(read_image(path, bands=Bands((1,))).pixels[..., 0], values[0])


def test_floating_bands_need_a_range(tmp_path: Path) -> None:
    values = np.linspace(-1, 2, 2 * 12, dtype=np.float32).reshape(2, 3, 4)
    values[1, 2, 3] = np.nan
    path = write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(DecodeError, match="--band-range"):
        read_image(path, bands=Bands((1,)))
    pixels = read_image(path, bands=Bands((2, 1), (0, 1))).pixels
    wanted = np.rint(np.nan_to_num(values[[1, 0]]).clip(0, 1).astype(np.float64) * 255)
    assert np.array_equal(pixels, wanted.transpose(1, 2, 0))


def test_a_band_that_is_not_there(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(bands=2))
    with pytest.raises(DecodeError, match="has no band 3: it has 2 bands"):
        read_image(path, bands=Bands((1, 3)))
    with pytest.raises(DecodeError, match=r"has no band 2: it has 1 band$"):
        decode(encoded(Image.new("L", (4, 4))), bands=Bands((2,)))


@pytest.mark.parametrize("bands", [5, 6, 13])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_many_bands_are_not_taken_for_colours(tmp_path: Path, bands: int, kind: str) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(kind, bands))
    with pytest.raises(DecodeError, match=f"has {bands} bands; train with --bands 4,3,2 or --bands all"):
        read_image(path)


def test_few_bands_that_are_no_colours(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.zeros((3, 4, 4), np.float32))
    with pytest.raises(DecodeError, match=r"TIFF of 3 bands.*--bands"):
        read_image(path)


def test_a_tiff_in_colours_needs_no_bands(tmp_path: Path) -> None:
    values = noise("uint8", 3)
    path = write_tiff(tmp_path / "a.tif", values, photometric="RGB", compress="lzw", tiled=True)
    assert np.array_equal(read_image(path).pixels, values.transpose(1, 2, 0))
    assert np.array_equal(read_image(path, bands=Bands((1, 2, 3))).pixels, values.transpose(1, 2, 0))


@pytest.mark.parametrize(("mode", "count"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 3)])
def test_bands_of_ordinary_files_are_their_channels(tmp_path: Path, mode: str, count: int) -> None:
    image = Image.fromarray(noise("uint8", 4).transpose(1, 2, 0).copy(), "RGBA").convert(mode)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image))
    assert count_bands(path) == count
    channels = np.asarray(image if count != 3 else image.convert("RGB")).reshape(37, 50, count)
    for numbers in ((1,), (count,), tuple(range(count, 0, -1))):
        pixels = read_image(path, bands=Bands(numbers)).pixels
        assert np.array_equal(pixels, channels[..., [number - 1 for number in numbers]])


def test_the_first_image_that_can_be_read_says_how_many_bands_there_are(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no image")
    (tmp_path / "grey.png").write_bytes(encoded(Image.new("L", (4, 4))))
    gone, words, grey = (
        Sample(name, tmp_path / name, lambda _: Labels.one_hot(0, 2)) for name in ("gone.png", "words.png", "grey.png")
    )
    packed = Sample("0", tmp_path / "many.bin", grey.truth, pixels=lambda: np.zeros((4, 4, 3), np.uint8))
    assert first_band_count([gone, words, grey, packed]) == 1
    assert first_band_count([packed, grey]) == 3
    path = write_tiff(tmp_path / "a.tif", noise(bands=13))
    assert first_band_count([words, Sample("a", path, grey.truth)]) == 13
    message = rf"{tmp_path}/gone.png: No such file or directory; none of the 2 images can be read, so their bands"
    with pytest.raises(UserError, match=message):
        first_band_count([gone, words])


def test_bands_of_a_jpeg_equal_its_colours() -> None:
    smooth = cv2.resize(noise("uint8", 3, (5, 6)).transpose(1, 2, 0), (64, 48))
    for data in (encoded(Image.fromarray(smooth), "JPEG"), encoded(Image.fromarray(smooth).convert("CMYK"), "JPEG")):
        assert np.array_equal(decode(data, (8, 8), Bands((3, 1))).pixels, decode(data).pixels[..., [2, 0]])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_png_keeps_its_bits(channels: int) -> None:
    values = noise("uint16", channels).transpose(1, 2, 0)
    stored = values[..., [2, 1, 0, 3][:channels]] if channels > 1 else values  # OpenCV writes blue first
    data = cv2.imencode(".png", stored)[1].tobytes()
    numbers = tuple(range(1, channels + 1))
    pixels = decode(data, bands=Bands(numbers, (1000, 1255))).pixels
    assert np.array_equal(pixels, (values.astype(int) - 1000).clip(0, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_bands_follow_the_orientation(orientation: int, kind: str) -> None:
    if kind == "TIFF":
        pytest.importorskip("rasterio")
    image = Image.fromarray(noise("uint8", 3).transpose(1, 2, 0).copy())
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif)
    decoded = decode(data, bands=Bands((1, 2, 3)))
    upright = np.zeros((*decoded.size, 3), np.uint8)
    warp_into(upright, decoded.pixels, decoded.to_original)
    assert np.array_equal(upright, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


def test_threads_read_bands_at_the_same_time(tmp_path: Path) -> None:
    stacks = [noise(bands=5) for _ in range(40)]
    paths = [write_tiff(tmp_path / f"{i}.tif", values, compress="lzw") for i, values in enumerate(stacks)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda path: read_image(path, bands=Bands((5, 2))).pixels, paths)
    for values, pixels in zip(stacks, found, strict=True):
        assert np.array_equal(pixels, np.rint(values[[4, 1]].transpose(1, 2, 0) / 257))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_tiff_cut_short(tmp_path: Path, share: float) -> None:
    data = write_tiff(tmp_path / "a.tif", noise()).read_bytes()
    with pytest.raises(DecodeError, match="damaged"):
        decode(data[: int(share * len(data))], bands=Bands((13,)))


def test_nothing_beside_the_image_is_read(tmp_path: Path) -> None:
    values = noise("uint8", 5)
    path = write_tiff(tmp_path / "a.tif", values)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><PAMRasterBand band='1'><NoDataValue>0</NoDataValue>")
    (tmp_path / "virtual.tif").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")
    assert np.array_equal(read_image(path, bands=Bands((1,))).pixels[..., 0], values[0])
    with pytest.raises(DecodeError, match="not an image"):
        read_image(tmp_path / "virtual.tif", bands=Bands((1,)))


def test_a_bomb_of_bands_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(size=(30, 30)))
    monkeypatch.setattr("vision_tasks.data.header.most_pixels", lambda: 1800)
    assert read_image(path, bands=Bands((1, 2, 3, 4, 5, 6))).pixels.shape == (30, 30, 6)
    monkeypatch.setattr(decoding, "read_values", lambda *_: pytest.fail("the values were read"))
    for count, limit in ((3, 899), (7, 1800)):
        monkeypatch.setattr("vision_tasks.data.header.most_pixels", partial(int, limit))
        with pytest.raises(DecodeError, match="VISION_TASKS_MAX_PIXELS"):
            read_image(path, bands=Bands(tuple(range(1, count + 1))))


def test_without_rasterio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", noise())
    geotiff._load_rasterio.cache_clear()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert count_bands(path) == 13
    with pytest.raises(UserError, match=r"pip install 'vision-tasks\[geo\]'"):
        read_image(path, bands=Bands((1,)))
