"""Regions of images: the pixels that the whole image has there, from the file where its layout allows it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vision_tasks.data import windows
from vision_tasks.data.decode import DecodeError, read_image
from vision_tasks.data.windows import longest_side, open_windows, overview, turned
from vision_tasks.types import Bands, Region

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

SIZE = (150, 210)
REGIONS: list[Region] = [(0, 0, 210, 150), (0, 0, 1, 1), (17, 30, 99, 131), (200, 140, 210, 150)]
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {},
    "one strip": {"blockysize": 150, "compress": "deflate"},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 32},
    "packed tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "lzw", "predictor": 2},
    "BigTIFF": {"BIGTIFF": "YES", "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "big-endian": {"ENDIANNESS": "BIG", "interleave": "pixel"},
    "band by band": {"interleave": "band", "compress": "deflate"},
}


def write_tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """`values` [bands,h,w]."""
    rasterio = pytest.importorskip("rasterio")
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(values)
    return path


def noise(bands: int = 3, kind: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(bands).integers(0, np.iinfo(kind).max, (bands, *SIZE), dtype=kind, endpoint=True)


def require_equal(path: Path, whole: bool, bands: Bands | None = None) -> None:
    """Every region holds what the whole decoded image has there."""
    expected = turned(read_image(path, bands=bands))
    with open_windows(path, bands) as image:
        assert bool(image.whole) == whole
        assert image.size == expected.shape[:2]
        for x0, y0, x1, y1 in REGIONS:
            found = image.read((x0, y0, x1, y1))
            assert found.dtype == np.uint8
            assert (found == expected[y0:y1, x0:x1]).all()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_tiff_in_colour(layout: dict[str, Any], tmp_path: Path) -> None:
    require_equal(write_tiff(tmp_path / "a.tif", noise(), photometric="rgb", **layout), whole=False)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_tiff_in_grey(kind: str, layout: dict[str, Any], tmp_path: Path) -> None:
    require_equal(write_tiff(tmp_path / "a.tif", noise(1, kind), **layout), whole=False)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("bands", [3, 4])
def test_tiff_in_deep_colour(bands: int, layout: dict[str, Any], tmp_path: Path) -> None:
    """By the range of 16 bits, to the nearest byte; Pillow, which decodes whole ones, drops the lower byte."""
    values = noise(bands, "uint16")
    path = write_tiff(tmp_path / "a.tif", values, photometric="rgb", **layout)
    expected = np.rint(np.moveaxis(values[:3], 0, -1) / 257)
    with open_windows(path) as image:
        assert not image.whole
        for x0, y0, x1, y1 in REGIONS:
            assert (image.read((x0, y0, x1, y1)) == expected[y0:y1, x0:x1]).all()
    assert np.abs(turned(read_image(path)).astype(int) - expected).max() <= 1


def test_tiff_whose_0_is_white(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(1), photometric="miniswhite")
    require_equal(path, whole=False)
    with open_windows(path) as image, open_windows(path, Bands((1,))) as stored:
        assert (image.read((0, 0, 9, 9)) == 255 - noise(1)[0, :9, :9, None]).all()
        assert (stored.read((0, 0, 9, 9)) == noise(1)[0, :9, :9, None]).all()


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}], ids=["strips", "tiles"])
@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
def test_tiff_of_jpeg(photometric: str, layout: dict[str, Any], tmp_path: Path) -> None:
    """Libraries differ a little in how they enlarge the colours of YCbCr, which are stored at half the size."""
    waves = [120 + 100 * np.sin(np.arange(SIZE[1]) / 20 + shift) for shift in (0, 0.5, 1)]
    values = np.stack([np.tile(wave, (SIZE[0], 1)) for wave in waves]).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", values, photometric=photometric, compress="jpeg", **layout)
    expected = turned(read_image(path)).astype(int)
    with open_windows(path) as image:
        assert not image.whole
        for x0, y0, x1, y1 in REGIONS:
            difference = np.abs(image.read((x0, y0, x1, y1)) - expected[y0:y1, x0:x1])
            assert difference.max() <= (4 if photometric == "ycbcr" else 0)
            assert difference.mean() <= 1
    assert np.abs(expected - np.moveaxis(values, 0, -1)).mean() < 5


def test_why_a_file_is_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(path: Path) -> str:
        with open_windows(path) as image:
            return image.whole

    picture = Image.fromarray(np.moveaxis(noise(), 0, -1).copy())
    picture.save(tmp_path / "a.png")
    picture.convert("CMYK").save(tmp_path / "b.tif")
    picture.save(tmp_path / "c.tif", tiffinfo={0x0112: 6})
    picture.save(tmp_path / "d.tif")
    assert reason(tmp_path / "a.png") == "only TIFFs can be read by region"
    assert reason(tmp_path / "b.tif").startswith("this kind of TIFF can't be read by region")
    assert reason(tmp_path / "c.tif").startswith("a TIFF that is to be turned")
    assert reason(tmp_path / "d.tif") == ""
    monkeypatch.setattr("vision_tasks.data.geotiff._LARGEST_BLOCK", 64)
    assert reason(tmp_path / "d.tif") == "its strips or tiles are as large as images"
    monkeypatch.setattr(windows, "can_read_regions", lambda: False)
    assert "vision-tasks[geo]" in reason(tmp_path / "d.tif")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_tiff_of_many_bands(layout: dict[str, Any], tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(7, "uint16"), **layout)
    require_equal(path, whole=False, bands=Bands((4, 7, 1), (100.0, 30000.0)))
    require_equal(path, whole=False, bands=Bands((2,)))


def test_tiff_with_alpha(tmp_path: Path) -> None:
    require_equal(write_tiff(tmp_path / "a.tif", noise(4), photometric="rgb", alpha="unspecified"), whole=False)
    require_equal(write_tiff(tmp_path / "b.tif", noise(4), photometric="rgb", alpha="yes"), whole=False)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "F", "I", "YCbCr"])
def test_other_kinds_of_tiff_are_decoded_whole(mode: str, tmp_path: Path) -> None:
    Image.fromarray(np.moveaxis(noise(), 0, -1).copy()).convert(mode).save(tmp_path / "a.tif")
    require_equal(tmp_path / "a.tif", whole=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_turned_images(kind: str, orientation: int, tmp_path: Path) -> None:
    picture = Image.fromarray(np.moveaxis(noise(), 0, -1).copy())
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / f"a.{kind}", exif=exif)
    with Image.open(tmp_path / f"a.{kind}") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    with open_windows(tmp_path / f"a.{kind}") as image:
        assert image.whole
        assert image.size == expected.shape[:2]
        for x0, y0, x1, y1 in ((0, 0, 150, 150), (20, 30, 140, 145)):
            assert np.abs(image.read((x0, y0, x1, y1)).astype(int) - expected[y0:y1, x0:x1]).max() <= 2
    assert longest_side(tmp_path / f"a.{kind}") == 210


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_bands(orientation: int, tmp_path: Path) -> None:
    picture = Image.fromarray(np.moveaxis(noise(), 0, -1).copy())
    picture.save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    with Image.open(tmp_path / "a.tif") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))[..., ::-1]
    with open_windows(tmp_path / "a.tif", Bands((3, 2, 1))) as image:
        assert bool(image.whole) == (orientation != 1)
        assert image.size == expected.shape[:2]
        assert (image.read((20, 30, 140, 145)) == expected[30:145, 20:140]).all()


def test_regions_are_not_read_from_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb")
    monkeypatch.setattr(windows, "read_image", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    with open_windows(path) as image:
        assert image.read((3, 4, 9, 8)).shape == (4, 6, 3)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    layout = LAYOUTS["packed tiles"]
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb", **layout)
    expected = np.moveaxis(noise(), 0, -1)
    regions = [(x, y, x + 40, y + 30) for x in range(0, 170, 10) for y in range(0, 120, 10)] * 3
    with open_windows(path) as image, ThreadPoolExecutor(8) as pool:
        for (x0, y0, x1, y1), found in zip(regions, pool.map(image.read, regions), strict=True):
            assert (found == expected[y0:y1, x0:x1]).all()


def test_files_beside_the_image_have_no_say(tmp_path: Path) -> None:
    """GDAL looks for statistics, overviews, masks and places in files of certain names."""
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb")
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue><ColorInterp>Blue</ColorInterp>"
        "</PAMRasterBand></PAMDataset>"
    )
    write_tiff(tmp_path / "a.tif.ovr", noise()[:, ::2, ::2])
    write_tiff(tmp_path / "a.tif.msk", np.zeros((1, *SIZE), np.uint8))
    (tmp_path / "a.tfw").write_text("1\n0\n0\n1\n0\n0\n")
    before = sorted(tmp_path.iterdir())
    require_equal(path, whole=False)
    with open_windows(path) as image:
        expected = np.moveaxis(noise(), 0, -1).reshape(75, 2, 105, 2, 3).mean(axis=(1, 3))
        assert np.abs(overview(image, 2) - expected).max() <= 0.51
    assert sorted(tmp_path.iterdir()) == before


def test_only_the_driver_of_tiff_looks_at_the_bytes(tmp_path: Path) -> None:
    """A virtual format under the name of a TIFF would let GDAL open what it names."""
    write_tiff(tmp_path / "secret.tif", noise())
    (tmp_path / "a.tif").write_text(
        f"<VRTDataset rasterXSize='9' rasterYSize='9'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        f"<SourceFilename>{tmp_path / 'secret.tif'}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DecodeError), open_windows(tmp_path / "a.tif", Bands((1,))):
        pass


def test_names_that_mean_something_to_gdal(tmp_path: Path) -> None:
    for name in ("a!b.tif", "zip+s3.tif", "GTIFF_DIR:1:a.tif", "b\udce9.tif", "x?y#z.tif"):
        path = write_tiff(tmp_path / "plain.tif", noise(), photometric="rgb").rename(tmp_path / name)
        require_equal(path, whole=False)


def test_blocks_as_large_as_images_are_no_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision_tasks.data.geotiff._LARGEST_BLOCK", 64 * 64)
    tiles = {"photometric": "rgb", "tiled": True}
    require_equal(write_tiff(tmp_path / "a.tif", noise(), **tiles, blockxsize=64, blockysize=64), whole=False)
    require_equal(write_tiff(tmp_path / "b.tif", noise(), **tiles, blockxsize=256, blockysize=160), whole=True)


def test_without_rasterio_files_are_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb")
    monkeypatch.setattr(windows, "can_read_regions", lambda: False)
    require_equal(path, whole=True)


def test_the_limit_is_for_what_is_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision_tasks.data.header.most_pixels", lambda: 10_000)
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb")
    with open_windows(path) as image:
        assert image.read((0, 0, 90, 90)).shape == (90, 90, 3)
    Image.fromarray(np.moveaxis(noise(), 0, -1).copy()).save(tmp_path / "a.png")
    with pytest.raises(DecodeError, match="larger than 10000 pixels"), open_windows(tmp_path / "a.png"):
        pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"words", "not an image"), (b"II*\0", "TIFF"), (None, "No such file")],
    ids=["empty", "words", "header", "missing"],
)
def test_what_is_no_image(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.tif").write_bytes(content)
    assert longest_side(tmp_path / "a.tif") == 0
    with pytest.raises(DecodeError, match=reason), open_windows(tmp_path / "a.tif"):
        pass


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb", compress="deflate", blockysize=16)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError), open_windows(path) as image:
        image.read((0, 0, *SIZE[::-1]))


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 400])
def test_an_overview_has_the_means_of_blocks(factor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_BAND_PIXELS", 3000)
    path = write_tiff(tmp_path / "a.tif", noise(), photometric="rgb")
    rows, columns = -(-SIZE[0] // factor), -(-SIZE[1] // factor)
    padding = ((0, rows * factor - SIZE[0]), (0, columns * factor - SIZE[1]), (0, 0))
    filled = np.pad(np.moveaxis(noise(), 0, -1), padding, mode="edge")
    expected = filled.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
    with open_windows(path) as image:
        found = overview(image, factor)
    assert found.shape == (rows, columns, 3)
    assert np.abs(found - expected).max() <= 1
