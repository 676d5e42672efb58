"""Every kind of image that people have, against Pillow; and every kind of damage, as a reason."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from vision_tasks.data.decode import DecodeError, count_bands, decode, read_image, reduction_for
from vision_tasks.warp import warp_into

RANDOM = np.random.default_rng(0)
SMOOTH = cv2.resize(RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def upright(data: bytes) -> np.ndarray:
    """The original as the warp shows it."""
    decoded = decode(data)
    canvas = np.zeros((*decoded.size, 3), np.uint8)
    warp_into(canvas, decoded.pixels, decoded.to_original)
    return canvas


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_exact(kind):
    data = encoded(Image.fromarray(SMOOTH), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(data).pixels, SMOOTH)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "AVIF"])
def test_lossy_formats_are_close(kind):
    data = encoded(Image.fromarray(SMOOTH), kind)
    assert np.abs(decode(data).pixels.astype(int) - SMOOTH).mean() < 6


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_png_modes_equal_pillow(mode):
    image = Image.fromarray(SMOOTH).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode(encoded(image, "PNG")).pixels, expected)


def test_cmyk_jpeg_equals_pillow():
    data = encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95)
    assert np.array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_large_cmyk_jpeg_is_placed_like_any_other():
    """It is decoded whole, whatever reduction its size would allow."""
    large = Image.fromarray(SMOOTH).resize((800, 600)).convert("CMYK")
    decoded = decode(encoded(large, "JPEG"), (60, 60))
    assert decoded.reduction == 1
    assert (decoded.to_original @ (*decoded.pixels.shape[1::-1], 1))[:2].tolist() == [800, 600]


def test_grey_jpeg():
    pixels = decode(encoded(Image.fromarray(SMOOTH).convert("L"), "JPEG", quality=95)).pixels
    assert pixels.shape == (60, 80, 3)
    assert np.ptp(pixels, axis=2).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("top", [65535, 4095, 255, 3])
def test_sixteen_bits_are_scaled_by_their_type_and_not_by_what_they_hold(kind, top):
    """12-bit data in 16 bits is common, and stays dark: images must stay comparable."""
    ramp = np.linspace(0, top, 80 * 60).reshape(60, 80).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(ramp), kind)).pixels
    assert np.abs(pixels.astype(float) - ramp[..., None] / 257).max() <= 1


def test_sixteen_bits_with_a_sign_have_black_at_zero():
    ramp = np.linspace(-32768, 32767, 80 * 60).reshape(60, 80).astype(np.int16)
    data = cv2.imencode(".tiff", ramp)[1].tobytes()
    assert np.abs(decode(data).pixels[..., 0] - ramp.clip(0) * (255 / 32767)).max() <= 0.5


def test_sixteen_bit_colours():
    colours = RANDOM.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    for data in (cv2.imencode(kind, colours[..., ::-1])[1].tobytes() for kind in (".png", ".tiff")):
        assert np.abs(decode(data).pixels - colours / 257).max() <= 1


@pytest.mark.parametrize(("top", "white"), [(1, 1), (200, 200), (1000, 65535), (1e6, 1e6)])
def test_floating_grey(top, white):
    ramp = np.linspace(0, top, 80 * 60, dtype=np.float32).reshape(60, 80)
    pixels = decode(encoded(Image.fromarray(ramp), "TIFF")).pixels
    assert np.abs(pixels[..., 1] - ramp * (255 / white)).max() <= 0.501


@pytest.mark.parametrize("top", [1.0, 3e4])
def test_missing_values_of_floating_grey_leave_the_others_as_they_are(top):
    ramp = np.linspace(-top / 4, top, 80 * 60, dtype=np.float32).reshape(60, 80)
    expected = decode(encoded(Image.fromarray(ramp), "TIFF")).pixels[..., 0].copy()
    for value, colour in ((np.nan, 0), (np.inf, 255), (-np.inf, 0)):
        spoilt = ramp.copy()
        spoilt[30, 40], expected[30, 40] = value, colour
        assert np.array_equal(decode(encoded(Image.fromarray(spoilt), "TIFF")).pixels[..., 0], expected)
    nothing = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    assert (decode(encoded(nothing, "TIFF")).pixels == 0).all()


@pytest.mark.parametrize("mode", ["P", "1", "L", "CMYK", "RGBA", "LAB"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_modes_equal_pillow(mode, compression):
    image = Image.fromarray(SMOOTH)
    if mode == "LAB":
        image = ImageCms.profileToProfile(image, *map(ImageCms.createProfile, ("sRGB", "LAB")), outputMode="LAB")
    data = encoded(image.convert(mode), "TIFF", compression=compression)
    assert np.array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_gif_equals_pillow():
    data = encoded(Image.fromarray(SMOOTH), "GIF")
    assert np.array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_first_frame_of_several(kind):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (10, 200)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data).pixels.astype(int) - 10).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_equals_pillow(orientation, kind):
    image = Image.fromarray(SMOOTH)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    assert np.abs(upright(data).astype(int) - expected).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_a_turned_tiff_is_turned_once(orientation, compression, mode):
    """Judged by the same picture as a PNG with the same orientation."""
    grey = np.asarray(Image.fromarray(SMOOTH).convert("L"))
    stored = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(SMOOTH).convert(mode)
    data = encoded(stored, "TIFF", tiffinfo={0x0112: orientation}, compression=compression)
    plain = Image.fromarray(SMOOTH if mode == "RGB" else grey)
    exif = plain.getexif()
    exif[0x0112] = orientation
    assert np.abs(upright(data).astype(int) - upright(encoded(plain, "PNG", exif=exif))).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_scaled_decoding_keeps_places(orientation):
    """A mark stays where it is, whatever the reduction and orientation, for sizes that don't divide evenly."""
    picture = np.zeros((403, 605, 3), np.uint8)
    picture[200:280, 400:520] = 255
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encoded(image, "JPEG", quality=95, exif=exif)
    full = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L")
    for detail, reduction in (((250, 200), 1), ((130, 130), 2), ((60, 60), 4), ((30, 30), 8)):
        decoded = decode(data, detail)
        assert decoded.reduction == reduction
        assert decoded.size == full.size[::-1]
        rows, columns = np.nonzero(decoded.pixels[..., 0] > 127)
        corners = np.array([[columns.min(), rows.min(), 1], [columns.max() + 1, rows.max() + 1, 1]]).T
        found = np.sort((decoded.to_original @ corners)[:2], axis=1)
        bright = np.nonzero(np.asarray(full) > 127)
        expected = [[bright[1].min(), bright[1].max() + 1], [bright[0].min(), bright[0].max() + 1]]
        assert np.abs(found - expected).max() <= reduction


def test_reduction_never_goes_below_the_detail():
    for short in range(1, 900, 37):
        for detail in (16, 50, 224):
            reduction = reduction_for((short, 2 * short), (detail, detail))
            assert reduction == 1 or short / reduction >= detail


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "empty"),
        (lambda _: b"these are words, not pixels" * 9, "not an image"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], "cut short"),
        (lambda jpeg: jpeg[:30], "not an image|damaged|cut short"),
    ],
)
def test_damage_is_an_error_with_its_reason(damage, reason):
    jpeg = encoded(Image.fromarray(SMOOTH), "JPEG")
    with pytest.raises(DecodeError, match=reason):
        decode(damage(jpeg))


KINDS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("MPO", {}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("PPM", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {}),
    ("JPEG2000", {}),
    ("AVIF", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_a_file_cut_short_is_never_half_a_picture(kind, options, share):
    rough = (SMOOTH.astype(int) + RANDOM.integers(-9, 9, SMOOTH.shape)).clip(0, 255).astype(np.uint8)
    data = encoded(Image.fromarray(rough), kind, **options)
    with pytest.raises(DecodeError, match=r"empty|not an image|damaged|cut short"):
        decode(data[: int(share * len(data))])


def test_a_png_cut_short():
    with pytest.raises(DecodeError, match=r"cut short|truncated"):
        decode(encoded(Image.fromarray(SMOOTH), "PNG")[:-40])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_bytes_behind_the_end_are_no_damage(kind):
    """Cameras and editors append their own; a picture's end is its own mark."""
    data = encoded(Image.fromarray(SMOOTH), kind)
    assert np.array_equal(decode(data + bytes(1000)).pixels, decode(data).pixels)


def test_a_missing_file(tmp_path):
    with pytest.raises(DecodeError, match="No such file"):
        read_image(tmp_path / "gone.jpg")


def test_a_bomb_is_refused_before_it_is_decoded_and_the_limit_can_be_raised(monkeypatch):
    monkeypatch.setattr("vision_tasks.data.header.most_pixels", lambda: 1000)
    with pytest.raises(DecodeError, match=r"larger than 1000 pixels; raise VISION_TASKS_MAX_PIXELS"):
        decode(encoded(Image.fromarray(SMOOTH), "PNG"))
    monkeypatch.setattr("vision_tasks.data.header.most_pixels", lambda: SMOOTH.shape[0] * SMOOTH.shape[1])
    assert np.array_equal(decode(encoded(Image.fromarray(SMOOTH), "PNG")).pixels, SMOOTH)


@pytest.mark.parametrize(("side", "refused"), [(15000, False), (18000, True), (30000, True)])
def test_the_limit_is_ours_alone(tmp_path, side, refused):
    """Pillow's own limit, which no setting of ours would raise, stands between the first and the second."""
    data = encoded(Image.new("L", (8, 8)), "PNG")
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    path = tmp_path / "large.png"
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    if refused:
        with pytest.raises(DecodeError, match=f"larger than {2**28} pixels"):
            count_bands(path)
    else:
        assert count_bands(path) == 1
