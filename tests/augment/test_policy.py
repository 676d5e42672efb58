"""Strengths: what each makes of a recipe's own policy."""

import pytest

from vision_tasks.augment.policy import STRENGTHS, strength
from vision_tasks.config import Policy
from vision_tasks.errors import UserError

PHOTOS = Policy(
    crop_area=(0.4, 1.0), flip_x=0.5, rotate=20, hue=0.1, saturation=0.2, grey=0.05, erase=0.1, mosaic=0.5
)  # fmt: skip
DIGITS = Policy(rotate=8, zoom=(0.9, 1.15), brightness=0.2)


def test_none_and_default():
    assert STRENGTHS == ("none", "light", "default", "strong")
    assert strength("none", PHOTOS) == Policy()
    assert strength("default", PHOTOS) is PHOTOS


def test_light_keeps_the_flips_alone():
    assert strength("light", PHOTOS) == Policy(flip_x=0.5)
    assert strength("light", DIGITS) == Policy()


def test_strong_does_more_of_what_the_recipe_does():
    strong = strength("strong", PHOTOS)
    assert (strong.crop_area, strong.rotate, strong.hue) == ((0.2, 1.0), 30, pytest.approx(0.12))
    assert (strong.flip_x, strong.flip_y, strong.mosaic) == (0.5, 0, 0.5)
    assert (strong.grey, strong.erase) == (0.1, 0.25)
    more = strength("strong", PHOTOS.model_copy(update={"grey": 0.4, "erase": 0.6}))
    assert (more.grey, more.erase) == (0.4, 0.6)


def test_strong_leaves_alone_what_the_recipe_leaves_alone():
    strong = strength("strong", DIGITS)
    assert (strong.rotate, strong.zoom, strong.brightness) == (18, pytest.approx((0.72, 1.38)), pytest.approx(0.4))
    assert strong == DIGITS.model_copy(
        update={"rotate": strong.rotate, "zoom": strong.zoom, "brightness": strong.brightness}
    )
    assert strong.hue == strong.saturation == strong.grey == 0  # colourless stays so
    assert strength("strong", Policy()) == Policy()


@pytest.mark.parametrize(
    ("name", "value"),
    [("rotate", 8), ("shear", 4), ("shift", 0.1), ("zoom", (0.9, 1.1)), ("brightness", 0.1), ("contrast", 0.1),
     ("saturation", 0.1), ("hue", 0.1), ("crop_area", (0.5, 1.0)), ("grey", 0.1), ("erase", 0.1), ("flip_x", 0.5),
     ("mosaic", 1.0), ("mixup", 0.1), ("cutmix", 0.1), ("copy_paste", 0.1)],
)  # fmt: skip
def test_each_part_alone(name, value):
    """Only grey with saturation, erasing with crops and mixup with mosaics come in new."""
    policy = Policy(**{name: value})
    made = strength("strong", policy)
    changed = {field for field in Policy.model_fields if getattr(made, field) != getattr(policy, field)}
    also = {"saturation": {"grey"}, "crop_area": {"erase"}, "mosaic": {"mixup"}}.get(name, set())
    assert changed == also | ({name} - {"grey", "erase", "flip_x", "mosaic"})


def test_strong_never_does_less():
    assert strength("strong", Policy(shear=60)).shear == 60


def test_every_strength_is_a_valid_policy():
    for policy in (PHOTOS, DIGITS, Policy(rotate=179, shear=44, hue=0.5, shift=1, saturation=1)):
        for name in STRENGTHS:
            made = strength(name, policy)
            assert Policy.model_validate(made.model_dump()) == made


def test_a_wrong_name_is_answered_with_the_right_one():
    with pytest.raises(UserError, match="did you mean strong"):
        strength("stron", PHOTOS)
