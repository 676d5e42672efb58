"""Plans: keyed, per image, and what the policy says."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_tasks import luck
from vision_tasks.augment.plan import Planner, RandomCrop, fitted
from vision_tasks.config import Policy
from vision_tasks.geometry import FITS

KEYS = luck.keys(f"{i}.jpg" for i in range(200))
SIZE = (300, 400)
EVERYTHING = Policy(
    crop_area=(0.3, 1.0), flip_x=0.5, flip_y=0.3, rotate=20, shear=10, zoom=(0.7, 1.4), shift=0.2,
    brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, grey=0.2, erase=0.5, mosaic=0.5,
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
            patch.erase,
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
    make = planner(Policy(mosaic=1.0, zoom=(0.5, 1.5), shift=0.1, mix_off=2))
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


def test_detail_covers_the_largest_zoom():
    assert Policy().largest_zoom() == 1
    assert Policy(crop_area=(0.25, 1), zoom=(0.5, 1.5)).largest_zoom() == 3


MANY = 4000


def many(policy: Policy, epoch: int = 0) -> list:
    """The only patch of each of many canvases; tests of their statistics cannot fail by chance: the seed is fixed."""
    planner = Planner(policy, (96, 128), "stretch", luck.keys(map(str, range(MANY))), seed=11, epochs=10)
    return [canvas[0] for canvas in planner.plan(epoch, np.arange(MANY))]


def is_uniform(values, low: float, high: float) -> bool:
    values = np.array(values)
    assert low <= values.min()
    assert values.max() <= high
    return bool(scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.01)


def is_rate(happened, probability: float) -> bool:
    return bool(scipy.stats.binomtest(int(np.sum(happened)), len(happened), probability).pvalue > 0.01)


def test_every_number_fills_its_range():
    policy = Policy(flip_x=0.4, flip_y=0.1, grey=0.3, erase=0.25, brightness=0.2, shift=0.3, mosaic=0.0)
    patches = many(policy)
    moves = np.array([patch.place((96, 128)) for patch in patches])
    assert is_rate(moves[:, 0, 0] < 0, 0.4)
    assert is_rate(moves[:, 1, 1] < 0, 0.1)
    # Whole pixels: -38.4..38.4 of them are 77, of which the outer two are met less often; and -28.8..28.8 are 59.
    for axis, middle, reach in ((0, 64, 38.4), (1, 48, 28.8)):
        pixels = moves[:, axis] @ (64, 48, 1) - middle
        np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-9)
        assert is_uniform(np.clip(pixels + np.linspace(-0.5, 0.5, MANY), -reach, reach), -reach, reach)
    colours = np.array([patch.colour for patch in patches])
    assert is_rate(colours[:, 0, 1] > 1e-6, 0.3)
    # Rows of every step but brightness sum to 1.
    assert is_uniform(colours[:, 0, :3].sum(axis=1), 0.8, 1.2)
    assert is_rate([patch.erase is not None for patch in patches], 0.25)


def test_angles_zooms_and_crops_fill_their_ranges():
    turns = np.array([patch.place((96, 128))[:2, :2] for patch in many(Policy(rotate=30, zoom=(0.5, 2.0)))])
    assert is_uniform(np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0])), -30, 30)
    assert is_uniform(np.log(np.linalg.det(turns)) / 2, np.log(0.5), np.log(2))
    size = (4000, 4000)  # so large that whole pixels and the picture's edges leave no trace
    crops = [patch.place(size) for patch in many(Policy(crop_area=(0.1, 0.5)))]
    shares = [96 * 128 / (place[0, 0] * place[1, 1]) / 4000**2 for place in crops]
    assert is_uniform(np.clip(shares, 0.1, 0.5), 0.1, 0.5)
    assert is_uniform(
        np.clip([np.log(place[1, 1] / place[0, 0] * 128 / 96) for place in crops], np.log(0.75), np.log(4 / 3)),
        np.log(0.75), np.log(4 / 3),
    )  # fmt: skip


def test_numbers_of_one_image_say_nothing_of_each_other_or_of_its_neighbours():
    policy = Policy(flip_x=0.5, rotate=20, shear=5, zoom=(0.8, 1.2), shift=0.1, brightness=0.3, erase=0.5, grey=0.5)

    def numbers(epoch: int) -> np.ndarray:
        patches = many(policy, epoch)
        moves = np.array([patch.place((96, 128))[:2].ravel() for patch in patches])
        colours = np.array([patch.colour[0] for patch in patches])
        erased = [patch.erase is not None for patch in patches]
        return np.column_stack([moves, colours[:, 1] > 1e-6, colours.sum(axis=1), erased])

    first, second = numbers(0), numbers(1)
    neighbours = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first[1:].T, first[:-1].T, strict=True)])
    epochs = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    tints = np.corrcoef(first[:, [0, 6, 7, 8]].T) - np.eye(4)
    limit = 4 / MANY**0.5
    assert np.abs(neighbours).max() < limit
    assert np.abs(epochs).max() < limit
    assert np.abs(tints).max() < limit


def test_only_a_canvas_of_one_image_is_erased():
    canvases = planner(Policy(mosaic=0.5, erase=1.0)).plan(0, np.arange(100))
    assert {(len(canvas), canvas[0].erase is None) for canvas in canvases} == {(1, False), (4, True)}
