"""Plans: keyed, per image, and what the policy says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_tasks import luck
from vision_tasks.augment.plan import Planner, RandomCrop, fitted
from vision_tasks.augment.policy import STRENGTHS, strength
from vision_tasks.config import Policy
from vision_tasks.errors import UserError
from vision_tasks.geometry import FITS

KEYS = luck.keys(f"{i}.jpg" for i in range(200))
SIZE = (300, 400)
EVERYTHING = Policy(
    crop_area=(0.3, 1.0), flip_x=0.5, flip_y=0.3, rotate=20, shear=10, zoom=(0.7, 1.4), shift=0.2,
    brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, mosaic=0.5,
)  # fmt: skip


def planner(policy: Policy, **changes) -> Planner:
    values = {"policy": policy, "canvas": (96, 128), "fit": "letterbox", "keys": KEYS, "seed": 3, "epochs": 10}
    return Planner(**values | changes)


def fingerprint(canvas) -> tuple:
    return tuple(
        (
            patch.sample,
            patch.place(SIZE).tobytes(),
            None if patch.colour is None else patch.colour.tobytes(),
            patch.region,
        )
        for patch in canvas
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 199), unique=True, min_size=1, max_size=30), st.integers(0, 9))
def test_a_sample_gets_the_same_canvas_in_any_batch(samples, epoch):
    make = planner(EVERYTHING)
    batch = make.plan(epoch, np.array(samples))
    for sample, canvas in zip(samples, batch, strict=True):
        assert fingerprint(canvas) == fingerprint(make.plan(epoch, np.array([sample]))[0])


def test_seed_and_epoch_change_every_canvas():
    samples = np.arange(50)
    first = [fingerprint(canvas) for canvas in planner(EVERYTHING).plan(0, samples)]
    for other in (planner(EVERYTHING).plan(1, samples), planner(EVERYTHING, seed=4).plan(0, samples)):
        assert all(fingerprint(canvas) != before for canvas, before in zip(other, first, strict=True))


def test_no_policy_is_the_fit():
    samples = np.arange(5)
    for fit in FITS:
        ours = planner(Policy(), fit=fit).plan(0, samples)
        for canvas, plain in zip(ours, fitted(samples.tolist(), (96, 128), fit), strict=True):
            np.testing.assert_allclose(canvas[0].place(SIZE), plain[0].place(SIZE), atol=1e-12)
            assert canvas[0].colour is None


@pytest.mark.parametrize(
    ("fit", "corners"),
    [
        ("stretch", [(0, 0), (128, 96)]),
        ("letterbox", [(0, 0), (128, 96)]),  # 4:3 like the canvas
        ("crop", [(0, 0), (128, 96)]),
    ],
)
def test_fits_of_equal_shape_agree(fit, corners):
    matrix = FITS[fit](SIZE, (96, 128))
    ends = [tuple((matrix @ (x, y, 1))[:2]) for x, y in ((0, 0), (400, 300))]
    np.testing.assert_allclose(ends, corners, atol=1e-9)


def test_letterbox_shows_all_and_crop_fills():
    wide, canvas = (100, 400), (200, 200)
    assert (FITS["letterbox"](wide, canvas) @ (400, 100, 1))[:2].tolist() == [200, 125]
    assert (FITS["crop"](wide, canvas) @ (200, 50, 1))[:2].tolist() == [100, 100]
    assert (FITS["crop"](wide, canvas) @ (0, 0, 1))[:2].tolist() == [-300, 0]


def test_crops_keep_their_share_and_stay_inside():
    make = planner(Policy(crop_area=(0.25, 0.8)))
    for canvas in make.plan(0, np.arange(200)):
        inverse = np.linalg.inv(canvas[0].place(SIZE))
        (x0, y0, _), (x1, y1, _) = inverse @ (0, 0, 1), inverse @ (128, 96, 1)
        assert x0 >= -1e-9
        assert y0 >= -1e-9
        assert x1 <= 400 + 1e-9
        assert y1 <= 300 + 1e-9
        # Rounded to whole pixels.
        assert (x1 - x0 - 0.5) * (y1 - y0 - 0.5) <= 0.8 * 400 * 300
        assert all(edge == pytest.approx(round(edge)) for edge in (x0, y0, x1, y1))
        assert 0.74 <= (x1 - x0) / (y1 - y0) <= 1.34 or x1 - x0 == 400 or y1 - y0 == 300


def test_a_crop_of_everything_is_the_whole_image():
    matrix = RandomCrop((50, 50), area=1.0, ratio=1.0, left=0.3, top=0.9)((80, 80))
    np.testing.assert_allclose(matrix, np.diag([50 / 80, 50 / 80, 1]))


def test_flips_happen_as_often_as_asked():
    flips = [canvas[0].place(SIZE)[0, 0] < 0 for canvas in planner(Policy(flip_x=0.3)).plan(0, np.arange(200))]
    assert 0.2 < np.mean(flips) < 0.4


def test_mosaic_is_four_tiles_that_share_the_canvas():
    make = planner(Policy(mosaic=1.0, zoom=(0.5, 1.5), shift=0.1, mosaic_off=2))
    for canvas in make.plan(0, np.arange(40)):
        assert len(canvas) == 4
        painted = np.zeros((96, 128), int)
        for patch in canvas:
            x0, y0, x1, y1 = patch.region
            painted[y0:y1, x0:x1] += 1
        assert (painted == 1).all()
    assert all(len(canvas) == 1 for canvas in make.plan(8, np.arange(40)))


def test_a_mosaic_tiles_corner_is_the_common_point():
    canvas = planner(Policy(mosaic=1.0)).plan(0, np.array([7]))[0]
    upper_left, lower_right = canvas[0], canvas[3]
    np.testing.assert_allclose(
        (upper_left.place(SIZE) @ (400, 300, 1))[:2], (lower_right.place(SIZE) @ (0, 0, 1))[:2], atol=1e-9
    )


def test_strengths():
    assert strength("none", EVERYTHING) == Policy()
    assert strength("default", EVERYTHING) is EVERYTHING
    light = strength("light", EVERYTHING)
    assert (light.flip_x, light.rotate, light.mosaic, light.hue) == (0.5, 0, 0, 0)
    assert strength("strong", EVERYTHING).rotate > EVERYTHING.rotate
    with pytest.raises(UserError, match="did you mean strong"):
        strength("stron", EVERYTHING)
    assert STRENGTHS == ("none", "light", "default", "strong")


def test_detail_covers_the_largest_zoom():
    assert Policy().largest_zoom() == 1
    assert Policy(crop_area=(0.25, 1), zoom=(0.5, 1.5)).largest_zoom() == 3
