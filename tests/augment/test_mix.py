"""What comes from another image: how much of it, which part, and whose objects."""

import numpy as np
import pytest
import scipy.stats
import torch

from vision_tasks import luck
from vision_tasks.augment.mix import Rectangle, SomeObjects, cut_region, symmetric_beta
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.tasks import DETECT
from vision_tasks.types import Boxes, Labels, Masks, Overlay, Patch

DRAWS = luck.uniform(0, "test", 0, luck.keys(map(str, range(4000))), 3)
CANVAS = (96, 128)
KEYS = luck.keys(f"{i}.jpg" for i in range(200))
EVERY = Policy(flip_x=0.5, rotate=20, brightness=0.3, mosaic=0.5, copy_paste=0.5, cutmix=0.5, mixup=0.5)


def planner(policy: Policy, **changes) -> Planner:
    values = {"policy": policy, "canvas": CANVAS, "fit": "letterbox", "keys": KEYS, "seed": 3, "epochs": 10}
    return Planner(**values | changes)


def patches_of(canvas) -> list[Patch]:
    return [step for step in canvas if isinstance(step, Patch)]


def overlays_of(canvas) -> list[Overlay]:
    return [step for step in canvas if isinstance(step, Overlay)]


def prints(patches) -> list[tuple]:
    return [
        (p.sample, p.place((300, 400)).tobytes(), p.colour is None or p.colour.tobytes(), p.region) for p in patches
    ]


class TestShares:
    @pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 1.5, 8.0, 32.0])
    def test_they_have_the_beta_distribution(self, alpha):
        shares = symmetric_beta(DRAWS[:, :2], alpha)
        assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01

    def test_hand_computed(self):
        """Beta(1/2, 1/2) is the arcsine law: with v = 0 (a cosine of 1) the number is (1 + sqrt(t)) / 2."""
        draws = np.array([[1 - 0.5**0.5, 0.0], [1 - 0.5**0.5, 0.25], [0.3, 0.5], [0.0, 0.4]])
        expected = [0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * (1 - 0.7**2) ** 0.5, 0.5]
        np.testing.assert_allclose(symmetric_beta(draws, 0.5), expected, atol=1e-12)

    def test_extreme_draws_stay_numbers(self):
        worst = np.array([[u, v] for u in (0.0, 2.0**-53, 0.5, 1 - 2.0**-53) for v in (0.0, 0.25, 0.5, 0.75)])
        for alpha in (0.001, 0.2, 1.0, 1e6):
            with np.errstate(all="raise", under="ignore"):
                shares = symmetric_beta(worst, alpha)
            assert ((shares >= 0) & (shares <= 1)).all()


class TestRectangles:
    def test_by_hand(self):
        """A quarter of 80 x 40 px is 40 x 20 px around the point drawn, of which at a corner a quarter stays."""
        assert cut_region([0.25, 0.5, 0.5], (40, 80)) == (20, 10, 60, 30)
        assert cut_region([0.25, 0.0, 0.0], (40, 80)) == (0, 0, 20, 10)
        assert cut_region([0.0, 0.3, 0.3], (40, 80)) == (24, 12, 24, 12)

    def test_shares_before_clipping_are_uniform_and_centres_anywhere(self):
        regions = np.array([cut_region(draws, (1000, 1000)) for draws in DRAWS])
        inside = (regions[:, :2] > 0).all(axis=1) & (regions[:, 2:] < 1000).all(axis=1)
        width, height = regions[:, 2] - regions[:, 0], regions[:, 3] - regions[:, 1]
        np.testing.assert_allclose(width[inside] * height[inside] / 1e6, DRAWS[inside, 0], atol=3e-3)
        assert (regions >= 0).all()
        assert (regions <= 1000).all()
        # A rectangle of half the canvas, at a place drawn anywhere, keeps its share on average as the paper's does.
        middle = (regions[inside, :2] + regions[inside, 2:]) / 2 / 1000
        np.testing.assert_allclose(middle, DRAWS[inside, 1:], atol=2e-3)


class TestObjects:
    TRUTH = Boxes.single(
        torch.tensor([[0.0, 0, 10, 10], [5, 5, 20, 20], [30.2, 40.8, 50.5, 60], [0, 0, 90, 90]]),
        torch.tensor([0, 1, 2, 0]),
        crowd=torch.tensor([False, False, False, True]),
    )

    def test_a_draw_is_a_place_among_the_objects(self):
        assert SomeObjects((0.0,))(self.TRUTH) == [(0, 0, 10, 10)]
        assert SomeObjects((0.34, 0.99))(self.TRUTH) == [(5, 5, 20, 20), (30, 40, 51, 60)]

    def test_one_that_meets_an_earlier_one_is_left_out(self):
        assert SomeObjects((0.34, 0.0, 0.35))(self.TRUTH) == [(5, 5, 20, 20)]

    def test_touching_is_not_meeting(self):
        beside = Boxes.single(torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]]), torch.tensor([0, 1]))
        assert SomeObjects((0.0, 0.6))(beside) == [(0, 0, 10, 10), (10, 0, 20, 10)]

    def test_where_no_objects_are_known_none_are_chosen(self):
        empty = Boxes.single(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
        mask = Masks(torch.zeros(1, 4, 4, dtype=torch.uint8), 2)
        for truth in (empty, Labels.one_hot(0, 2), mask):
            assert SomeObjects((0.1, 0.9))(truth) == []


class TestPlans:
    def test_without_mixing_they_are_what_they_were_before_there_was_any(self):
        """Sums over a whole epoch, written down by the version that knew only mosaic.

        (But for places, in which shifts have become whole pixels since, and what contrast turns about.)
        """
        policy = Policy(
            crop_area=(0.3, 1.0), flip_x=0.5, flip_y=0.3, rotate=20, shear=10, zoom=(0.7, 1.4), shift=0.2,
            brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, grey=0.2, erase=0.5, mosaic=0.5,
        )  # fmt: skip
        found = [patch for canvas in planner(policy).plan(4, np.arange(200)) for patch in canvas]
        assert (len(found), sum(patch.sample for patch in found)) == (539, 53826)
        np.testing.assert_allclose(
            sum(patch.place((300, 400)) for patch in found)[:2].ravel(),
            [-6.7897775558463955, 0.023760059888036332, 35047.59341715449, -0.27021893530785246, 71.0110645629926,
             13841.442252295437], rtol=1e-9,
        )  # fmt: skip
        assert sum(patch.colour[:, :3] for patch in found).sum() == pytest.approx(1634.5237, rel=1e-6)
        nothing = (0, 0, 0, 0)
        assert np.sum([patch.region or nothing for patch in found], axis=0).tolist() == [13954, 10252, 42882, 31948]
        assert np.sum([patch.erase or nothing for patch in found], axis=0).tolist() == [1386, 977, 2900, 2598]

    def test_mixing_leaves_the_own_canvas_as_it_is(self):
        plain = EVERY.model_copy(update={"copy_paste": 0.0, "cutmix": 0.0, "mixup": 0.0})
        before, after = (planner(policy).plan(2, np.arange(200)) for policy in (plain, EVERY))
        for own, mixed in zip(before, after, strict=True):
            assert prints(own) == prints(patches_of(mixed))
            assert list(mixed) == [*patches_of(mixed), *overlays_of(mixed)]

    def test_what_comes_in_is_anothers_own_canvas_of_that_epoch(self):
        for size in (200, 2):
            make = planner(EVERY, keys=KEYS[:size])
            alone = [prints(patches_of(canvas)) for canvas in make.plan(1, np.arange(size))]
            for sample, canvas in enumerate(make.plan(1, np.arange(size))):
                for overlay in overlays_of(canvas):
                    other = overlay.patches[0].sample
                    assert other != sample
                    assert prints(overlay.patches) == alone[other]

    def test_a_sample_is_mixed_alike_in_any_batch(self):
        make = planner(EVERY)
        whole = make.plan(0, np.arange(200))
        for sample in (0, 17, 199):
            (again,) = make.plan(0, np.array([sample]))
            assert len(again) == len(whole[sample])
            for ours, theirs in zip(overlays_of(again), overlays_of(whole[sample]), strict=True):
                assert prints(ours.patches) == prints(theirs.patches)
                assert (ours.amount, ours.regions) == (theirs.amount, theirs.regions)

    def test_each_happens_as_often_as_asked_and_with_anyone(self):
        count = 4000
        keys = luck.keys(map(str, range(count)))
        make = planner(Policy(copy_paste=0.3, cutmix=0.2, mixup=0.4, mixup_alpha=1.0), keys=keys, seed=4)
        every = [overlay for canvas in make.plan(0, np.arange(count)) for overlay in overlays_of(canvas)]
        copies = [overlay for overlay in every if isinstance(overlay.regions, SomeObjects)]
        cuts = [overlay for overlay in every if isinstance(overlay.regions, Rectangle)]
        blends = [overlay for overlay in every if overlay.regions is None]
        for kind, probability in ((copies, 0.3), (cuts, 0.2), (blends, 0.4)):
            assert scipy.stats.binomtest(len(kind), count, probability).pvalue > 0.01
            partners = [overlay.patches[0].sample for overlay in kind]
            assert scipy.stats.kstest(partners, "uniform", (0, count)).pvalue > 0.01
        assert scipy.stats.kstest([overlay.amount for overlay in blends], "uniform").pvalue > 0.01

    def test_order_is_objects_then_rectangle_then_blend(self):
        canvas = planner(Policy(copy_paste=1.0, cutmix=1.0, mixup=1.0)).plan(0, np.array([5]))[0]
        kinds = [type(overlay.regions) for overlay in overlays_of(canvas)]
        assert kinds == [SomeObjects, Rectangle, type(None)]

    def test_a_mosaic_is_blended_with_a_mosaic(self):
        canvas = planner(Policy(mosaic=1.0, mixup=1.0, mixup_alpha=32.0)).plan(0, np.array([5]))[0]
        assert (len(patches_of(canvas)), len(overlays_of(canvas)[0].patches)) == (4, 4)
        assert 0.25 < overlays_of(canvas)[0].amount < 0.75

    def test_the_last_epochs_are_without_any(self):
        make = planner(EVERY.model_copy(update={"mix_off": 3}))
        assert any(overlays_of(canvas) for canvas in make.plan(6, np.arange(50)))
        assert all(len(canvas) == 1 for epoch in (7, 8, 9) for canvas in make.plan(epoch, np.arange(50)))

    def test_a_sample_drawn_again_gets_other_luck(self):
        policy = Policy(rotate=20, crop_area=(0.3, 0.9), mosaic=0.5, mixup=0.5)
        once, twice, thrice = planner(policy).plan(0, np.array([7, 207, 407]))
        assert {patches_of(canvas)[0].sample for canvas in (once, twice, thrice)} == {7}
        assert len({str(prints(patches_of(canvas))) for canvas in (once, twice, thrice)}) == 3
        assert prints(patches_of(planner(policy).plan(0, np.array([7]))[0])) == prints(patches_of(once))

    def test_one_sample_alone_can_only_meet_itself(self):
        (canvas,) = planner(Policy(mixup=1.0), keys=KEYS[:1]).plan(0, np.array([0]))
        assert overlays_of(canvas)[0].patches[0].sample == 0


def test_files_of_earlier_runs_still_say_when_mosaic_ends():
    assert Policy.model_validate({"mosaic": 1.0, "mosaic_off": 4}) == Policy(mosaic=1.0, mix_off=4)
    assert DETECT.recipe.changed(**{"augment.mosaic_off": 4}).augment.mix_off == 4


@pytest.mark.parametrize(("epochs", "mixed"), [(1, 1), (2, 1), (5, 3), (30, 20)])
def test_a_short_training_mixes_in_its_first_half(epochs, mixed):
    policy = Policy(mosaic=1.0, mixup=0.5, mix_off=10)
    assert sum(policy.at(epoch, epochs) == policy for epoch in range(epochs)) == mixed
