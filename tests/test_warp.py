"""One resampling, and a good one: Pillow, torchvision and the float64 definition as judges."""

from statistics import median

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from vision_tasks.data.decode import decode
from vision_tasks.geometry import affine, centred, crop, letterbox, scale, translate
from vision_tasks.sampling import sample_nearest
from vision_tasks.types import IGNORE
from vision_tasks.warp import BORDER, LUMA, settled, warp_into, warp_reference


def warp(pixels, matrix, size, **options):
    canvas = np.full((*size, pixels.shape[2]), BORDER, np.uint8)
    warp_into(canvas, pixels, matrix, **options)
    return canvas


def psnr(a, b) -> float:
    error = ((np.asarray(a, float) - np.asarray(b, float)) ** 2).mean()
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Edges, texture and noise, of about the spectrum of a photograph."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for step in (2, 8, 32, 128):
        coarse = random.normal(0, step**0.7, (-(-height // step) + 1, -(-width // step) + 1, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = 128 + 40 * picture / picture.std()
    cv2.circle(picture, (width // 2, height // 2), min(height, width) // 4, (250, 40, 40), -1)
    return picture.clip(0, 255).astype(np.uint8)


def bands(height: int, width: int, count: int) -> np.ndarray:
    """As many different pictures, one in each channel."""
    return np.concatenate([photo(height, width, seed) for seed in range(-(-count // 3))], axis=2)[..., :count]


MANY = (1, 2, 3, 4, 5, 6, 13)


def test_identity_and_flips_are_exact():
    pixels = photo(37, 53)
    assert np.array_equal(warp(pixels, np.eye(3), (37, 53)), pixels)
    assert np.array_equal(warp(pixels, affine(-1, 0, 53, 0, 1, 0), (37, 53)), pixels[:, ::-1])
    assert np.array_equal(warp(pixels, affine(1, 0, 0, 0, -1, 37), (37, 53)), pixels[::-1])


def test_whole_pixel_crop_is_exact():
    pixels = photo(60, 80)
    assert np.array_equal(warp(pixels, translate(-13, -7), (40, 50)), pixels[7:47, 13:63])


@pytest.mark.parametrize("box", [(3, 5, 303, 255), (0, 0, 400, 300), (10, 20, 110, 95), (7, 9, 391, 60)])
@pytest.mark.parametrize("sides", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_crops_of_whole_pixels_are_pillows_mirrored_or_not(box, sides):
    """Shrunk along both axes, enlarged, and one of each."""
    pixels, canvas = photo(300, 400), (112, 160)
    pillow = np.asarray(Image.fromarray(pixels).resize((160, 112), Image.Resampling.BILINEAR, box=box))
    upright = warp(pixels, crop(box, canvas), canvas)
    turned = warp(pixels, centred(scale(*sides), canvas) @ crop(box, canvas), canvas)
    assert psnr(upright, pillow) > 40
    assert np.array_equal(turned, upright[:: sides[1], :: sides[0]])


@pytest.mark.parametrize("angle", [10.0, 45.0, -130.0])
def test_rotation_equals_torchvision_inside(angle):
    pixels = photo(64, 64)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    ours = warp(pixels, centred(affine(cos, -sin, 0, sin, cos, 0), (64, 64)), (64, 64))
    image = torch.from_numpy(pixels).permute(2, 0, 1).double()
    theirs = TF.rotate(image, -angle, interpolation=TF.InterpolationMode.BILINEAR).permute(1, 2, 0).numpy()
    inside = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 28
    # Rounded to bytes, and OpenCV's coordinates are good to half a level.
    assert np.abs(ours - theirs)[inside].max() <= 1.0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (700, 500), (1500, 2000)])
@pytest.mark.parametrize("kind", ["crop", "letterbox", "sheared"])
def test_equals_the_definition(size, kind):
    pixels, canvas = photo(*size), (48, 64)
    matrix = {
        "crop": crop((0.1 * size[1], 0.2 * size[0], 0.83 * size[1], 0.9 * size[0]), canvas),
        "letterbox": letterbox(size, canvas),
        "sheared": centred(affine(0.9, 0.2, 3, -0.1, 1.1, -2), canvas) @ letterbox(size, canvas),
    }[kind]
    ours = warp(pixels, matrix, canvas)
    exact = warp_reference(torch.from_numpy(pixels).permute(2, 0, 1) / 255, torch.from_numpy(matrix), canvas)
    expected = exact.permute(1, 2, 0).numpy() * 255
    assert psnr(ours, expected) > 38
    border = (expected == BORDER).all(axis=-1)
    assert (ours[border] == BORDER).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (90, 70), (700, 500)])
@pytest.mark.parametrize("kind", ["moved", "turned", "far"])
@pytest.mark.parametrize("mirror", [(0, 0, 64, 48), (5, 8, 60, 30)])
def test_mirror_images_equal_the_definition(size, kind, mirror):
    pixels, canvas = photo(*size), (48, 64)
    change = {
        "moved": translate(-13, 9),
        "turned": centred(affine(0.8, 0.5, 3, -0.5, 0.8, -2), canvas),
        "far": translate(150, -70),  # mirrors in mirrors
    }[kind]
    matrix = change @ letterbox(size, canvas)
    ours = warp(pixels, matrix, canvas, mirror=mirror)
    exact = warp_reference(
        torch.from_numpy(pixels).permute(2, 0, 1) / 255, torch.from_numpy(matrix), canvas, mirror=mirror
    )
    assert psnr(ours, exact.permute(1, 2, 0) * 255) > 38


def test_mirror_images_equal_those_of_numpy():
    pixels = photo(20, 30)
    ours = warp(pixels, translate(7, -4), (20, 30), mirror=(0, 0, 30, 20))
    assert np.array_equal(ours, np.pad(pixels, ((0, 4), (7, 0), (0, 0)), mode="symmetric")[4:, :30])
    within = warp(pixels, translate(7, -4), (20, 30), mirror=(4, 0, 30, 20))
    assert (within[:, :4] == BORDER).all()
    assert np.array_equal(within[:, 4:], ours[:, 4:])


def test_the_definition_equals_pillow():
    pixels = photo(300, 400)
    box = (11.3, 20.8, 371.1, 290.2)
    exact = warp_reference(
        torch.from_numpy(pixels).permute(2, 0, 1).double(), torch.from_numpy(crop(box, (70, 90))), (70, 90)
    )
    pillow = Image.fromarray(pixels).resize((90, 70), Image.Resampling.BILINEAR, box=box)
    # Pillow rounds to bytes after each of its two passes, and cuts its triangle at the box's edge.
    inner = (slice(3, -3), slice(3, -3))
    assert np.abs(exact.permute(1, 2, 0).numpy()[inner] - np.asarray(pillow, float)[inner]).max() <= 1.6


def quality(path, canvas, random) -> float:
    """PSNR against Pillow's antialiased bilinear of the full image, for a random crop of it or the whole."""
    full = Image.open(path).convert("RGB")
    decoded = decode(path.read_bytes(), (canvas, canvas))
    width, height = full.size
    box = (0.0, 0.0, float(width), float(height))
    if random.random() < 0.5:
        w, h = width * random.uniform(0.8, 1), height * random.uniform(0.8, 1)
        x, y = random.uniform(0, width - w), random.uniform(0, height - h)
        box = (x, y, x + w, y + h)
    matrix = crop(box, (canvas, canvas)) @ decoded.to_original
    ours = warp(decoded.pixels, matrix, (canvas, canvas), reduction=decoded.reduction)
    return psnr(ours, full.resize((canvas, canvas), Image.Resampling.BILINEAR, box=box))


@pytest.mark.shared
@pytest.mark.parametrize("canvas", [64, 224, 320, 640])
def test_photos_keep_the_promised_quality_scaled_decoding_included(shared_data, canvas):
    """Median >= 40 dB and none below 35 dB against Pillow's antialiased bilinear resize."""
    random = np.random.default_rng(0)
    photos = [
        *sorted((shared_data / "classify-clothing-small" / "train").glob("*/*.jpg"))[::5],
        *sorted((shared_data / "detect-chess-coco").glob("*/*.jpg")),
        *sorted((shared_data / "detect-bccd-voc" / "JPEGImages").glob("*.jpg"))[::10],
    ]
    found = [quality(path, canvas, random) for path in photos]
    assert median(found) >= 40
    assert min(found) >= 35


def test_colour_and_region():
    pixels = np.full((10, 10, 3), (100, 50, 200), np.uint8)
    half = np.array([[0.5, 0, 0, 0], [0, 1, 0, 0.1], [0, 0, 1, -1]], np.float32)
    canvas = warp(pixels, scale(2, 2), (20, 20), region=(5, 0, 10, 20), colour=half)
    assert (canvas[:, 5:10] == (50, 76, 0)).all()  # 50 + 25.5 rounds to even
    assert (canvas[:, :5] == BORDER).all()
    assert (canvas[:, 10:] == BORDER).all()


def test_far_outside_leaves_the_canvas():
    assert (warp(photo(9, 9), translate(100, 0), (20, 20)) == BORDER).all()


@pytest.mark.parametrize("seed", range(5))
def test_nearest_takes_the_pixel_under_the_centre(seed):
    random = np.random.default_rng(seed)
    index = torch.from_numpy(random.integers(0, 9, (1, 13, 17), dtype=np.uint8))
    matrix = centred(affine(*(random.normal(0, 1, 6) + np.eye(2, 3).ravel())), (13, 17))
    found = sample_nearest(index, torch.from_numpy(matrix)[None], (11, 12), IGNORE)[0].numpy()
    inverse = np.linalg.inv(matrix)
    for row in range(11):
        for column in range(12):
            x, y, _ = inverse @ (column + 0.5, row + 0.5, 1)
            inside = 0 <= x < 17 and 0 <= y < 13
            assert found[row, column] == (index[0, int(y), int(x)] if inside else IGNORE)


def test_inputs_are_not_changed():
    pixels = photo(50, 50)
    before = pixels.copy()
    warp(pixels, scale(0.3, 0.4), (15, 20), colour=np.eye(3, 4, dtype=np.float32))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("channels", [*MANY, 200])
def test_any_number_of_channels_by_whole_pixels_is_exact(channels):
    pixels = bands(20, 30, channels)
    assert np.array_equal(warp(pixels, np.eye(3), (20, 30)), pixels)
    assert np.array_equal(warp(pixels, affine(-1, 0, 30, 0, 1, 0), (20, 30)), pixels[:, ::-1])
    assert np.array_equal(warp(pixels, translate(-3, -7), (10, 20)), pixels[7:17, 3:23])


@pytest.mark.parametrize("channels", MANY)
@pytest.mark.parametrize(
    ("size", "kind"), [((30, 40), "rotated"), ((110, 97), "letterbox"), ((400, 500), "rotated"), ((350, 600), "crop")]
)
def test_any_number_of_channels_equals_the_definition(channels, size, kind):
    """Enlarged, shrunk by the prefilter, and shrunk so far that blocks are averaged first."""
    pixels, canvas = bands(*size, channels), (36, 48)
    matrix = {
        "rotated": centred(affine(0.9, 0.3, 2.1, -0.3, 0.9, -1.3), canvas) @ letterbox(size, canvas),
        "letterbox": letterbox(size, canvas),
        "crop": crop((20, 10, 560, 340), canvas),
    }[kind]
    ours = warp(pixels, matrix, canvas)
    assert ours.shape == (*canvas, channels)
    exact = warp_reference(torch.from_numpy(pixels).permute(2, 0, 1) / 255, torch.from_numpy(matrix), canvas)
    for channel in range(channels):
        assert psnr(ours[..., channel], exact[channel] * 255) > 38
        alone = warp(pixels[..., channel : channel + 1], matrix, canvas)
        assert np.array_equal(ours[..., channel], alone[..., 0])


BRIGHTER = np.array([[1.2, 0, 0, -0.1], [0, 1.2, 0, -0.1], [0, 0, 1.2, -0.1]], np.float32)
GREY = np.tile(np.array([0.299, 0.587, 0.114, 0], np.float32), (3, 1))
TINTED = np.array([[0.5, 0, 0, 0], [0, 1, 0, 0.1], [0, 0.5, 0.5, 0]], np.float32)


@pytest.mark.parametrize("channels", [4, 5, 13])
@pytest.mark.parametrize("colour", [BRIGHTER, GREY, TINTED])
def test_colours_touch_the_first_three_channels_alone(channels, colour):
    pixels = bands(20, 30, channels)
    kept = pixels.copy()
    ours = warp(pixels, np.eye(3), (20, 30), colour=colour)
    rgb = (pixels[..., :3] / 255) @ colour[:, :3].T.astype(float) + colour[:, 3]
    assert np.abs(ours[..., :3] / 255 - rgb.clip(0, 1)).max() <= 0.55 / 255  # OpenCV's factors have ten bits
    assert np.array_equal(ours[..., 3:], pixels[..., 3:])
    assert np.array_equal(pixels, kept)


@pytest.mark.parametrize("channels", [1, 2])
def test_fewer_channels_are_greys_which_brightness_changes_and_saturation_does_not(channels):
    pixels = bands(20, 30, channels)
    brighter = warp(pixels, np.eye(3), (20, 30), colour=BRIGHTER)
    assert np.abs(brighter / 255 - (1.2 * pixels / 255 - 0.1).clip(0, 1)).max() <= 0.51 / 255
    assert np.array_equal(warp(pixels, np.eye(3), (20, 30), colour=GREY), pixels)


def test_a_grey_channel_changes_as_a_grey_pixel_does():
    grey = photo(20, 30)[..., :1]
    alone = warp(grey, np.eye(3), (20, 30), colour=BRIGHTER)
    assert np.array_equal(warp(grey.repeat(3, axis=2), np.eye(3), (20, 30), colour=BRIGHTER), alone.repeat(3, axis=2))


ABOUT_THE_MEAN = np.array([[2, 0, 0, -1, 0.1], [0, 2, 0, -1, 0], [0, 0, 2, -1, 0]], np.float32)


@pytest.mark.parametrize(("channels", "mean"), [(1, 40), (2, 60), (3, 67.698), (6, 67.698)])
def test_a_colour_matrix_takes_the_mean_grey_of_its_image(channels, mean):
    """Bands of 40, 80, 77, ...: their luma is 0.299 * 40 + 0.587 * 80 + 0.114 * 77; of fewer than three, the mean."""
    pixels = np.tile(np.array([40, 80, 77, 250, 0, 9], np.uint8)[:channels], (5, 4, 1))
    matrix = settled(ABOUT_THE_MEAN, pixels)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix[:, :3], ABOUT_THE_MEAN[:, :3])
    np.testing.assert_allclose(matrix[:, 3], [0.1 - mean / 255, -mean / 255, -mean / 255], atol=2e-5)


def test_the_mean_of_a_large_image_is_nearly_that_of_all_its_pixels():
    pixels = photo(900, 1300)
    matrix = settled(ABOUT_THE_MEAN, pixels)
    assert abs(matrix[1, 3] + (pixels / 255 @ LUMA).mean()) < 0.01


def test_outside_and_beyond_the_region_every_channel_is_border():
    pixels = bands(20, 20, 6)
    canvas = warp(pixels, translate(5, 0), (20, 30), region=(0, 0, 20, 20))
    assert np.array_equal(canvas[:, 5:20], pixels[:, :15])
    assert (canvas[:, :5] == BORDER).all()
    assert (canvas[:, 20:] == BORDER).all()


@pytest.mark.parametrize("tint", [None, np.array([[0.5, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 2, -0.5]], np.float32)])
def test_an_image_that_is_its_canvas_is_copied_as_any_other_is_sampled(tint):
    source = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    copied, sampled = np.zeros_like(source), np.zeros_like(source)
    warp_into(copied, source, np.eye(3), colour=tint)
    warp_into(sampled, source, np.eye(3), region=(0, 0, 9, 7), colour=tint)
    np.testing.assert_array_equal(copied, sampled)
    assert not np.shares_memory(copied, source)
