"""Colour matrices against float64 formulas and torchvision."""

import colorsys

import numpy as np
import torch
from torchvision.transforms.v2 import functional as TF

from vision_tasks.augment import colour

RANDOM = np.random.default_rng(0)
RGB = RANDOM.random((50, 3))


def apply(matrices, rgb=RGB):
    return rgb @ matrices[0, :3, :3].T + matrices[0, :3, 3]


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


def test_contrast_turns_about_the_middle():
    ours = apply(colour.contrast(np.array([0.5])))
    np.testing.assert_allclose(ours, 0.5 + 0.5 * (RGB - 0.5), atol=1e-12)


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
    assert matrices.shape == (2, 4, 4)
    assert matrices[:, 0, 0].tolist() == [0.5, 2.0]
