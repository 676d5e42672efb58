"""Colour matrices against formulas in float64, pixel by pixel, and against torchvision.

Hue differs from torchvision's by design: it is an angle about the grey axis, not the H of HSV; what must agree are
greys and the direction of the turn.
"""

import colorsys
from cmath import exp, pi

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from vision_tasks import luck
from vision_tasks.augment import colour
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.warp import settled, warp_into

RANDOM = np.random.default_rng(0)
RGB = RANDOM.random((50, 3))


def apply(matrices, rgb=RGB, mean=None):
    """To colours of an image whose mean grey is theirs, or `mean`."""
    mean = (rgb @ (0.299, 0.587, 0.114)).mean() if mean is None else mean
    return rgb @ matrices[0, :3, :3].T + matrices[0, :3, 3] * mean + matrices[0, :3, 4]


def torchvision(function, factor, rgb=RGB):
    return function(torch.from_numpy(rgb.T[:, None]), factor)[:, 0].T.numpy()


def test_brightness_equals_torchvision():
    ours = apply(colour.brightness(np.array([1.3]))).clip(0, 1)
    np.testing.assert_allclose(ours, torchvision(TF.adjust_brightness, 1.3), atol=1e-12)


def test_saturation_equals_torchvision():
    for factor in (0.0, 0.4, 1.7):
        ours = apply(colour.saturation(np.array([factor]))).clip(0, 1)
        # torchvision's luma weights have four digits.
        np.testing.assert_allclose(ours, torchvision(TF.adjust_saturation, factor), atol=2e-4)


def test_contrast_equals_torchvision():
    for factor in (0.0, 0.5, 1.6):
        ours = apply(colour.contrast(np.array([factor]))).clip(0, 1)
        # torchvision's luma weights have four digits.
        np.testing.assert_allclose(ours, torchvision(TF.adjust_contrast, factor), atol=2e-4)


def test_contrast_after_brightness_turns_about_the_brighter_mean_as_torchvision_does():
    factor = np.array([0.6])
    ours = apply(colour.contrast(factor) @ colour.brightness(factor))
    brighter = torchvision(TF.adjust_brightness, 0.6)
    np.testing.assert_allclose(ours, torchvision(TF.adjust_contrast, 0.6, brighter), atol=2e-4)


def test_a_dark_image_stays_dark():
    """About a middle grey, little contrast would lift a black background to a quarter of white."""
    dark = np.array([[0.01, 0.01, 0.01]] * 9 + [[0.2, 0.2, 0.2]])
    assert apply(colour.contrast(np.array([0.5])), dark).max() < 0.12
    assert apply(colour.contrast(np.array([1.5])), dark)[-1] == pytest.approx([0.2855] * 3)  # 0.029 + 1.5 * 0.171


def test_hue_keeps_grey_and_luma_and_turns_colours():
    for turns in (-0.3, 0.1, 0.5):
        matrix = colour.hue(np.array([turns]))
        np.testing.assert_allclose(apply(matrix, np.full((1, 3), 0.4)), 0.4, atol=1e-4)
        np.testing.assert_allclose(apply(matrix) @ colour.LUMA, RGB @ colour.LUMA, atol=1e-12)
    np.testing.assert_allclose(apply(colour.hue(np.array([1.0]))), RGB, atol=1e-12)


def test_a_third_of_a_turn_moves_red_towards_green_as_hsv_does():
    red = np.array([[0.8, 0.2, 0.2]])
    for turns, direction in ((1 / 3, 1 / 3), (-1 / 3, 2 / 3)):
        hue = colorsys.rgb_to_hsv(*apply(colour.hue(np.array([turns])), red)[0].clip(0, 1))[0]
        assert abs(hue - direction) < 0.12


def test_composition_is_one_matrix():
    factors = np.array([1.2])
    together = colour.saturation(factors) @ colour.contrast(factors) @ colour.brightness(factors)
    one_by_one = apply(colour.saturation(factors), apply(colour.contrast(factors), apply(colour.brightness(factors))))
    np.testing.assert_allclose(apply(together), one_by_one, atol=1e-12)


def test_every_image_has_its_own():
    matrices = colour.brightness(np.array([0.5, 2.0]))
    assert matrices.shape == (2, 5, 5)
    assert matrices[:, 0, 0].tolist() == [0.5, 2.0]


def test_grey_equals_torchvision():
    ours = apply(colour.grey(np.array([True])))
    theirs = TF.rgb_to_grayscale(torch.from_numpy(RGB.T[:, None]), num_output_channels=3)[:, 0].T.numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    np.testing.assert_array_equal(colour.grey(np.array([False, False])), np.tile(np.eye(5), (2, 1, 1)))


@pytest.mark.parametrize("turns", [-0.4, -0.15, 0.08, 0.25])
def test_hue_turns_as_torchvision_does_and_leaves_greys(turns):
    pure = np.array([[0.7, 0.3, 0.3], [0.3, 0.7, 0.3], [0.3, 0.3, 0.7], [0.7, 0.7, 0.3], [0.3, 0.7, 0.7]])
    ours, theirs = apply(colour.hue(np.array([turns])), pure), torchvision(TF.adjust_hue, turns, pure)
    hues = [[colorsys.rgb_to_hsv(*rgb)[0] for rgb in rows.clip(0, 1)] for rows in (ours, theirs)]
    apart = (np.subtract(*hues) + 0.5) % 1 - 0.5
    assert np.abs(apart).max() < 0.1
    greys = np.linspace(0, 1, 7)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(
        apply(colour.hue(np.array([turns])), greys), torchvision(TF.adjust_hue, turns, greys), atol=1e-4
    )


def one_pixel(rgb, mean, brightness, contrast, saturation, turns, grey):
    """The definition of all steps in their order, for one pixel of an image with that mean grey, without a matrix."""
    red, green, blue = (brightness * value for value in rgb)
    red, green, blue = (brightness * mean + contrast * (value - brightness * mean) for value in (red, green, blue))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    red, green, blue = (luma + saturation * (value - luma) for value in (red, green, blue))
    # The colour of YIQ as a complex number, turned; back by NTSC's own four-digit inverse.
    colours = 0.5959 * red - 0.2746 * green - 0.3213 * blue + 1j * (0.2115 * red - 0.5227 * green + 0.3112 * blue)
    turned = colours * exp(-2j * pi * turns)
    i, q = turned.real, turned.imag
    red, green, blue = luma + 0.9563 * i + 0.6210 * q, luma - 0.2721 * i - 0.6474 * q, luma - 1.1070 * i + 1.7046 * q
    if grey:
        red = green = blue = 0.299 * red + 0.587 * green + 0.114 * blue
    return [min(1.0, max(0.0, value)) for value in (red, green, blue)]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("draws", [[0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.8, 0.3], [0.05, 0.95, 0.2, 0.75]])
def test_all_steps_of_a_policy_equal_the_definition_to_a_level(choose, draws, grey):
    """From the draws (hue, saturation, contrast, brightness, grey) to the bytes on the canvas."""
    choose({"colour": [*draws, 0.2 if grey else 0.6]})
    policy = Policy(brightness=0.4, contrast=0.5, saturation=0.6, hue=0.2, grey=0.5)
    planner = Planner(policy, (5, 10), "stretch", luck.keys(["0"]), seed=0, epochs=1)
    patch = planner.plan(0, np.array([0]))[0][0]
    pixels = (RGB * 255).round().astype(np.uint8).reshape(5, 10, 3)
    canvas = np.zeros_like(pixels)
    warp_into(canvas, pixels, np.eye(3), colour=settled(patch.colour, pixels))
    hue, saturation, contrast, brightness = (2 * draw - 1 for draw in draws)
    values = (1 + 0.4 * brightness, 1 + 0.5 * contrast, 1 + 0.6 * saturation, 0.2 * hue, grey)
    mean = (pixels.reshape(-1, 3) / 255 @ (0.299, 0.587, 0.114)).mean()
    expected = [one_pixel(rgb, mean, *values) for rgb in pixels.reshape(-1, 3) / 255]
    assert np.abs(canvas.reshape(-1, 3) / 255 - expected).max() <= 1 / 255
