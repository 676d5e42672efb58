"""Targets follow their images: hand-computed cases, and torchvision v2's functionals as judge."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as TF

from vision_tasks.geometry import affine, centred, crop, scale, translate
from vision_tasks.types import IGNORE, MIN_VISIBLE, Boxes, Labels, Masks


def one(matrix) -> torch.Tensor:
    return torch.from_numpy(matrix)[None]


def boxes(*rows: tuple[float, float, float, float], labels=None) -> Boxes:
    return Boxes.single(torch.tensor(rows).reshape(-1, 4), torch.tensor(labels or list(range(len(rows)))))


def mask(rows: list[list[int]], classes: int = 3) -> Masks:
    return Masks(torch.tensor([rows], dtype=torch.uint8), classes)


def _shear(degrees: float):
    return affine(1, np.tan(np.radians(degrees)), 0, 0, 1, 0)


class TestLabels:
    def test_geometry_changes_nothing(self):
        labels = Labels.one_hot(1, 3)
        assert torch.equal(labels.warp(one(scale(2, 2)), (4, 4)).weight, torch.tensor([[0.0, 1.0, 0.0]]))

    def test_paste_weighs_by_area(self):
        region = torch.zeros(1, 4, 4, dtype=torch.bool)
        region[:, :2, :2] = True
        mixed = Labels.one_hot(0, 2).paste(Labels.one_hot(1, 2), region)
        torch.testing.assert_close(mixed.weight, torch.tensor([[0.75, 0.25]]))

    def test_four_pastes_on_blank_weigh_by_area(self):
        canvas = Labels.one_hot(0, 4).blank((6, 8))
        for label, (rows, columns) in enumerate(
            [
                (slice(0, 2), slice(0, 3)),
                (slice(0, 2), slice(3, 8)),
                (slice(2, 6), slice(0, 3)),
                (slice(2, 6), slice(3, 8)),
            ]
        ):
            region = torch.zeros(1, 6, 8, dtype=torch.bool)
            region[:, rows, columns] = True
            canvas = canvas.paste(Labels.one_hot(label, 4), region)
        torch.testing.assert_close(canvas.weight, torch.tensor([[6.0, 10.0, 12.0, 20.0]]) / 48)

    def test_erasing_a_part_changes_nothing(self):
        erased = Labels.one_hot(1, 3).erase(torch.ones(1, 4, 4, dtype=torch.bool))
        assert torch.equal(erased.weight, torch.tensor([[0.0, 1.0, 0.0]]))

    def test_blend_is_per_image(self):
        left = Labels(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        right = Labels(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        mixed = left.blend(right, torch.tensor([0.25, 1.0]))
        torch.testing.assert_close(mixed.weight, torch.tensor([[0.75, 0.25], [0.0, 1.0]]))


class TestBoxes:
    def test_flip_is_width_minus_x(self):
        flipped = boxes((1, 2, 4, 6)).warp(one(affine(-1, 0, 10, 0, 1, 0)), (8, 10))
        torch.testing.assert_close(flipped.xyxy, torch.tensor([[[6.0, 2.0, 9.0, 6.0]]]))

    def test_against_torchvision_flip_crop_and_affine(self):
        size, generator = (60, 80), torch.Generator().manual_seed(0)
        corner = torch.rand(20, 2, generator=generator) * torch.tensor([40.0, 30.0])
        xyxy = torch.cat([corner, corner + 5 + 15 * torch.rand(20, 2, generator=generator)], dim=1)
        theirs = tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=size, clamping_mode=None)
        ours = Boxes.single(xyxy, torch.zeros(20, dtype=torch.long))

        flipped = ours.warp(one(affine(-1, 0, size[1], 0, 1, 0)), size)
        torch.testing.assert_close(flipped.xyxy[0], TF.horizontal_flip(theirs).as_subclass(torch.Tensor))

        cropped = ours.warp(one(crop((10, 5, 50, 45), (80, 120))), (80, 120))
        expected = TF.resized_crop(theirs, 5, 10, 40, 40, [80, 120]).as_subclass(torch.Tensor)
        expected = TF.clamp_bounding_boxes(
            tv_tensors.BoundingBoxes(expected, format="XYXY", canvas_size=(80, 120)), clamping_mode="hard"
        )
        torch.testing.assert_close(
            cropped.xyxy[0][cropped.valid[0]], expected[cropped.valid[0]].as_subclass(torch.Tensor)
        )

        turn = centred(_rotation(20.0) @ scale(0.9, 0.9), size)
        moved = ours.warp(one(turn), size)
        expected = TF.affine(theirs, angle=20.0, translate=[0, 0], scale=0.9, shear=[0.0, 0.0])
        expected = TF.clamp_bounding_boxes(expected, clamping_mode="hard").as_subclass(torch.Tensor)
        kept = moved.valid[0]
        assert kept.sum() >= 15
        torch.testing.assert_close(moved.xyxy[0][kept], expected[kept], atol=1e-3, rtol=0)

    def test_a_box_mostly_outside_is_dropped_and_one_partly_outside_clipped(self):
        # Of the first 1/20 stays in sight, of the second half.
        moved = boxes((-19, 0, 1, 10), (-5, 0, 5, 10)).warp(one(translate(0, 0)), (20, 20))
        assert moved.valid.tolist() == [[False, True]]
        assert moved.xyxy[0, 1].tolist() == [0, 0, 5, 10]

    def test_inverse_returns_to_the_original(self):
        place = translate(7.5, 3.25) @ scale(0.37, 0.37)
        original = boxes((100, 50, 300, 400), (0, 0, 640, 480))
        there = original.warp(one(place), (200, 320))
        back = there.warp(torch.linalg.inv(one(place)), (480, 640))
        torch.testing.assert_close(back.xyxy, original.xyxy, atol=1e-3, rtol=0)

    def test_paste_clips_the_new_and_hides_the_old(self):
        region = torch.zeros(1, 10, 10, dtype=torch.bool)
        region[:, :, 5:] = True
        old = boxes((0, 0, 4, 4), (3, 2, 9, 6), (6, 6, 9, 9), labels=[0, 1, 2])
        new = boxes((4, 0, 8, 2), (0, 0, 5, 5), labels=[3, 4])
        both = old.paste(new, region)
        kept = {
            label: box
            for label, box, ok in zip(*(t[0].tolist() for t in (both.label, both.xyxy, both.valid)), strict=True)
            if ok
        }
        # Box 1 is cut across its whole height and shrinks; box 2 is hidden; box 4 lies outside the region.
        assert kept == {0: [0, 0, 4, 4], 1: [3, 2, 5, 6], 3: [5, 0, 8, 2]}

    def test_a_corner_covered_leaves_the_box(self):
        region = torch.zeros(1, 10, 10, dtype=torch.bool)
        region[:, 5:, 5:] = True
        under = boxes((2, 2, 8, 8)).paste(boxes(), region)
        assert under.flat().xyxy[0].tolist() == [[2, 2, 8, 8]]

    def test_erase_hides_and_shrinks_and_leaves_corners(self):
        region = torch.zeros(2, 10, 20, dtype=torch.bool)
        region[0, 2:8, 4:14] = True
        rows = [
            (5, 3, 13, 7),  # all under it
            (2, 3, 8, 7),  # its right two thirds: what is in sight ends at x = 4
            (10, 6, 18, 10),  # a corner, 8 of 32 px^2
            (0, 0, 3, 3),  # beside it
            (4, 1, 14, 8),  # 60 of 70 px^2 hidden, so that 1/7 is in sight
            (4, 1.5, 14, 8),  # 60 of 65 px^2: 1/13 is too little
        ]
        erased = Boxes.stack([boxes(*rows), boxes(*rows)]).erase(region)
        kept = dict(zip(erased.image(0).label[0].tolist(), erased.image(0).xyxy[0].tolist(), strict=True))
        assert kept == {1: [2, 3, 4, 7], 2: [10, 6, 18, 10], 3: [0, 0, 3, 3], 4: [4, 1, 14, 2]}
        assert torch.equal(erased.image(1).xyxy, boxes(*rows).xyxy)  # nothing was erased there

    def test_blend_keeps_both_while_a_tenth_of_each_image_is_left(self):
        amounts = torch.tensor([0.05, 0.1, 0.5, 0.9, 0.95])
        ours, theirs = (
            Boxes.stack([boxes(row, labels=[label])] * 5) for label, row in ((0, (0, 0, 1, 1)), (1, (2, 2, 3, 3)))
        )
        mixed = ours.blend(theirs, amounts)
        kept = [mixed.image(i).label[0].tolist() for i in range(5)]
        assert kept == [[0], [0, 1], [0, 1], [0, 1], [1]]

    def test_regions_are_the_pixels_touched_by_single_objects(self):
        truth = Boxes.single(
            torch.tensor([[1.2, 2.9, 5.0, 6.1], [0, 0, 9, 9], [3, 3, 4, 4]]),
            torch.tensor([0, 0, 1]),
            crowd=torch.tensor([False, True, False]),
        )
        assert truth.regions() == [(1, 2, 5, 7), (3, 3, 4, 4)]
        assert Boxes.stack([truth]).regions() == truth.regions()  # padding is no object
        assert boxes().regions() == []

    def test_crowds_stay_crowds(self):
        """Through warp, paste and blend, in the rows where they were."""
        crowd = Boxes.single(torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([1]), crowd=torch.tensor([True]))
        region = torch.zeros(1, 10, 10, dtype=torch.bool)
        region[:, :5] = True
        plain = boxes((1, 6, 3, 9))
        for mixed in (plain.paste(crowd, region), plain.blend(crowd, torch.tensor([0.5]))):
            flat = mixed.warp(one(scale(2, 2)), (20, 20)).flat()
            assert flat.crowd.tolist() == [[False, True]]
            assert flat.label.tolist() == [[0, 1]]

    def test_stack_pads_to_multiples_of_eight_and_drops_padding(self):
        batch = Boxes.stack([boxes(*[(0, 0, i + 1, 1) for i in range(9)]), boxes((1, 1, 2, 2)), boxes()])
        assert batch.xyxy.shape == (3, 16, 4)
        assert batch.valid.sum(dim=1).tolist() == [9, 1, 0]
        assert batch.image(1).xyxy.tolist() == [[[1, 1, 2, 2]]]
        assert Boxes.stack([boxes(), boxes()]).xyxy.shape == (2, 0, 4)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 10_000), st.floats(-60, 60), st.floats(0.4, 2), st.floats(-25, 25), st.floats(-25, 25))
    def test_any_affine_equals_torchvision_and_drops_by_the_share_in_sight(self, seed, angle, zoom, shift_x, shift_y):
        size, random = (60, 80), np.random.default_rng(seed)
        corner = random.uniform(0, (60, 40), (12, 2))
        xyxy = torch.from_numpy(np.hstack([corner, corner + random.uniform(2, 30, (12, 2))])).double()
        move = translate(shift_x, shift_y) @ centred(_rotation(angle) @ scale(zoom, zoom), size)
        ours = Boxes.single(xyxy, torch.arange(12)).warp(one(move), size)

        theirs = tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=size, clamping_mode=None)
        whole = TF.affine(theirs, angle=angle, translate=[shift_x, shift_y], scale=zoom, shear=[0.0, 0.0])
        whole = whole.as_subclass(torch.Tensor)
        seen = whole.clamp(min=0).minimum(torch.tensor([80.0, 60, 80, 60]).double())
        share = _area(seen) / _area(whole)
        sure = (share - MIN_VISIBLE).abs() > 1e-3
        assert torch.equal(ours.valid[0][sure], (share >= MIN_VISIBLE)[sure])
        kept = ours.valid[0]
        torch.testing.assert_close(ours.xyxy[0][kept].double(), seen[kept], atol=1e-3, rtol=0)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 10_000))
    def test_paste_against_counted_pixels(self, seed):
        """Boxes of whole pixels: what a box keeps is counted on painted masks, its new edges are the mask's extent."""
        random = np.random.default_rng(seed)
        rows = [_whole_box(random) for _ in range(6)]
        x0, y0, x1, y1 = _whole_box(random)
        region = torch.zeros(1, 20, 20, dtype=torch.bool)
        region[:, y0:y1, x0:x1] = True
        under, over = boxes(*rows[:3], labels=[0, 1, 2]), boxes(*rows[3:], labels=[3, 4, 5])
        mixed = under.paste(over, region).flat()
        found = dict(zip(mixed.label[0].tolist(), mixed.xyxy[0].tolist(), strict=True))
        for label, row in enumerate(rows):
            painted = torch.zeros(20, 20, dtype=torch.bool)
            painted[row[1] : row[3], row[0] : row[2]] = True
            seen = painted & (region[0] if label > 2 else ~region[0])
            if seen.sum() < MIN_VISIBLE * painted.sum() or not seen.any():
                assert label not in found
            else:
                y, x = seen.nonzero(as_tuple=True)
                assert found[label] == [x.min(), y.min(), x.max() + 1, y.max() + 1]

    @pytest.mark.parametrize(
        ("covers", "left"),
        [
            ([(0, 0, 80, 100), (80, 0, 96, 100)], None),  # 4 columns of 100
            ([(0, 0, 99, 50), (0, 50, 99, 100)], None),  # the last column alone
            ([(0, 0, 80, 50), (0, 50, 80, 100)], [80, 0, 100, 100]),  # neither spans a side, both together do
            ([(0, 0, 80, 100), (0, 0, 85, 100)], [85, 0, 100, 100]),  # what is hidden twice is gone once
            ([(0, 0, 60, 60), (30, 30, 90, 90)], [0, 0, 100, 100]),  # 3600 + 3600 - 900 of 10000 hidden
            ([(0, 0, 100, 50), (0, 40, 100, 85), (0, 84, 50, 100)], None),  # 15 * 50 = 7.5 % left
            ([(0, 0, 100, 50), (0, 40, 100, 85), (0, 84, 30, 100)], [30, 85, 100, 100]),  # 10.5 %
        ],
    )
    def test_covers_one_after_the_other_hide_together(self, covers, left):
        erased = pasted = boxes((0, 0, 100, 100))
        for x0, y0, x1, y1 in covers:
            region = torch.zeros(1, 100, 100, dtype=torch.bool)
            region[:, y0:y1, x0:x1] = True
            erased, pasted = erased.erase(region), pasted.paste(boxes(), region)
        for target in (erased, pasted):
            assert target.flat().xyxy[0].tolist() == ([] if left is None else [left])

    def test_what_the_canvas_cut_off_counts_as_hidden_too(self):
        """Of 100 x 100 a warp leaves 40 columns, an erased rectangle 9 of them: 9 %, though 22 % of what was there."""
        moved = boxes((-60, 0, 40, 100)).warp(one(translate(0, 0)), (100, 100))
        region = torch.zeros(1, 100, 100, dtype=torch.bool)
        region[:, :, :31] = True
        assert moved.erase(region).flat().xyxy[0].tolist() == []
        region[:, :, 30] = False
        assert moved.erase(region).flat().xyxy[0].tolist() == [[30, 0, 40, 100]]

    def test_covers_move_with_their_boxes(self):
        """Half a box is hidden, canvas and all are doubled, and nine tenths of the other half are hidden then."""
        region = torch.zeros(1, 10, 10, dtype=torch.bool)
        region[:, :5] = True
        doubled = boxes((0, 0, 10, 10)).paste(boxes((0, 0, 4, 4)), region).warp(one(scale(2, 2)), (20, 20))
        assert doubled.flat().xyxy[0].tolist() == [[0, 10, 20, 20], [0, 0, 8, 8]]
        region = torch.zeros(1, 20, 20, dtype=torch.bool)
        region[:, :, :17] = True
        assert doubled.erase(region).flat().xyxy[0].tolist() == []

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 10_000))
    def test_covers_in_a_row_against_counted_pixels(self, seed):
        random = np.random.default_rng(seed)
        row = _whole_box(random)
        target, painted = boxes(row), torch.zeros(20, 20, dtype=torch.bool)
        painted[row[1] : row[3], row[0] : row[2]] = True
        whole, lost = painted.sum(), False
        for _ in range(4):
            x0, y0, x1, y1 = _whole_box(random)
            region = torch.zeros(1, 20, 20, dtype=torch.bool)
            region[:, y0:y1, x0:x1] = True
            target, painted = target.erase(region), painted & ~region[0]
            lost |= bool(painted.sum() < MIN_VISIBLE * whole)
            y, x = painted.nonzero(as_tuple=True)
            left = [] if lost else [[x.min(), y.min(), x.max() + 1, y.max() + 1]]
            assert target.flat().xyxy[0].tolist() == left

    def test_counts_leave_crowds_out(self):
        truth = Boxes.single(torch.ones(3, 4), torch.tensor([0, 1, 1]), crowd=torch.tensor([True, True, False]))
        assert truth.counts(3).tolist() == [0, 1, 0]

    def test_float64_is_kept_until_a_batch_is_stacked(self):
        third = torch.tensor([[1 / 3, 0, 2, 2]], dtype=torch.float64)
        exact = Boxes.single(third, torch.tensor([0]), score=third[:, 0], area=third[:, 2])
        for each in (exact, exact.image(0), exact.flat(), exact.to("cpu"), exact.renumbered([0]), exact.above(0.1)):
            assert (each.xyxy[0, 0, 0], each.score, each.area) == (1 / 3, third[:, 0], 2)
        assert exact.warp(one(translate(1, 0)), (9, 9)).xyxy.dtype == torch.float64
        batch = Boxes.stack([exact])
        assert (batch.xyxy.dtype, batch.score.dtype, batch.area) == (torch.float32, torch.float32, None)
        assert Boxes.single(third.half(), torch.tensor([0])).xyxy.dtype == torch.float32

    def test_nothing_is_changed_in_place_and_no_boxes_are_no_special_case(self):
        region = torch.ones(1, 10, 10, dtype=torch.bool)
        for under, over in ((boxes(), boxes((1, 1, 4, 4))), (boxes((1, 1, 4, 4)), boxes()), (boxes(), boxes())):
            copies = [under.xyxy.clone(), under.valid.clone(), over.xyxy.clone(), over.valid.clone()]
            under.paste(over, region)
            under.blend(over, torch.tensor([0.05]))
            under.erase(region)
            under.warp(one(translate(90, 0)), (10, 10))
            after = [under.xyxy, under.valid, over.xyxy, over.valid]
            assert all(a.equal(b) for a, b in zip(copies, after, strict=True))

    def test_scores_travel(self):
        predicted = Boxes.single(
            torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 3]]), torch.tensor([0, 1]), score=torch.tensor([0.9, 0.2])
        )
        moved = predicted.warp(one(scale(2, 2)), (8, 8)).above(0.5).flat()
        assert moved.xyxy[0].tolist() == [[0, 0, 8, 8]]
        assert moved.score is not None
        torch.testing.assert_close(moved.score, torch.tensor([[0.9]]))

    def test_a_batch_equals_its_images(self):
        matrices = torch.stack([torch.from_numpy(scale(2, 3)), torch.from_numpy(translate(1, 2))])
        single = [boxes((0, 0, 2, 2)), boxes((1, 1, 4, 4), (0, 0, 1, 1))]
        together = Boxes.stack(single).warp(matrices, (10, 10))
        for i, item in enumerate(single):
            assert torch.equal(together.image(i).xyxy, item.warp(matrices[i : i + 1], (10, 10)).flat().xyxy)


class TestMasks:
    def test_flip_equals_torchvision(self):
        index = torch.randint(0, 5, (1, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        ours = Masks(index, 5).warp(one(affine(-1, 0, 9, 0, 1, 0)), (7, 9))
        assert torch.equal(ours.index, TF.horizontal_flip(tv_tensors.Mask(index)).as_subclass(torch.Tensor))

    def test_nearest_resize_and_crop_equal_torchvision(self):
        index = torch.randint(0, 5, (1, 30, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
        ours = Masks(index, 5).warp(one(crop((4, 6, 36, 30), (17, 23))), (17, 23))
        # Through the image kernel: for masks torchvision takes the older rule, which is off by half a pixel.
        exact = TF.InterpolationMode.NEAREST_EXACT
        theirs = TF.resized_crop(index, 6, 4, 24, 32, [17, 23], interpolation=exact)
        assert torch.equal(ours.index, theirs)

    def test_border_is_ignored_not_background(self):
        shifted = mask([[1, 2], [1, 2]]).warp(one(translate(1, 0)), (2, 3))
        assert shifted.index.tolist() == [[[IGNORE, 1, 2], [IGNORE, 1, 2]]]

    def test_paste(self):
        region = torch.tensor([[[False, True], [False, True]]])
        assert mask([[0, 0], [0, 0]]).paste(mask([[1, 2], [1, 2]]), region).index.tolist() == [[[0, 2], [0, 2]]]

    def test_erased_pixels_are_ignored(self):
        region = torch.tensor([[[False, True], [False, True]]])
        assert mask([[0, 1], [2, 1]]).erase(region).index.tolist() == [[[0, IGNORE], [2, IGNORE]]]
        mixed = mask([[0, 1]]).blend(mask([[1, 1]]), torch.tensor([0.5])).erase(torch.tensor([[[True, False]]]))
        assert mixed.index.tolist() == [[[IGNORE, 1]]]
        assert mixed.dense()[0, :, 0].T.tolist() == [[0, 0, 0], [0, 1, 0]]

    def test_blend_gives_probabilities_and_keeps_ignore(self):
        mixed = mask([[0, 1]]).blend(mask([[1, IGNORE]]), torch.tensor([0.25]))
        assert mixed.probability is not None
        torch.testing.assert_close(mixed.probability[0, :, 0, 0], torch.tensor([0.75, 0.25, 0.0]))
        assert mixed.index.tolist() == [[[0, IGNORE]]]

    def test_probabilities_are_sampled_bilinearly_like_torch_interpolate(self):
        probability = torch.rand(1, 4, 5, 6, generator=torch.Generator().manual_seed(3)).softmax(dim=1)
        predicted = Masks(probability.argmax(1).to(torch.uint8), 4, probability)
        large = predicted.warp(one(scale(3, 3)), (15, 18))
        expected = torch.nn.functional.interpolate(probability, scale_factor=3, mode="bilinear", align_corners=False)
        torch.testing.assert_close(large.probability, expected)
        assert torch.equal(large.index, expected.argmax(dim=1).to(torch.uint8))

    def test_a_blended_mask_is_pasted_and_stacked_beside_plain_ones(self):
        blended = mask([[0, 1]]).blend(mask([[2, 2]]), torch.tensor([0.25]))
        left = torch.tensor([[[True, False]]])
        onto = mask([[1, 1]]).paste(blended, left)
        assert onto.dense()[0, :, 0].T.tolist() == [[0.75, 0, 0.25], [0, 1, 0]]
        under = blended.paste(mask([[1, 1]]), left)
        assert under.dense()[0, :, 0].T.tolist() == [[0, 1, 0], [0, 0.75, 0.25]]
        assert under.index.tolist() == [[[1, 1]]]
        both = Masks.stack([mask([[2, IGNORE]]), blended])
        assert both.dense()[0, :, 0].T.tolist() == [[0, 0, 1], [0, 0, 0]]
        assert both.dense()[1].equal(blended.dense()[0])

    @pytest.mark.parametrize(
        ("matrix", "size", "judge"),
        [
            (affine(1, 0, 0, 0, -1, 7), (7, 9), TF.vertical_flip),
            (crop((2, 1, 8, 6), (5, 6)), (5, 6), lambda index: TF.crop(index, 1, 2, 5, 6)),
            (scale(3, 2), (14, 27), lambda index: TF.resize(index, [14, 27], TF.InterpolationMode.NEAREST_EXACT)),
            (
                crop((0, 0, 9, 7), (3, 4)),
                (3, 4),
                lambda index: TF.resize(index, [3, 4], TF.InterpolationMode.NEAREST_EXACT),
            ),
            (translate(2, 1), (7, 9), lambda index: TF.affine(index, 0, [2, 1], 1, [0, 0], fill=IGNORE)),
            (
                centred(np.linalg.inv(_shear(20)), (7, 9)),
                (7, 9),
                lambda index: TF.affine(index, 0, [0, 0], 1, [20, 0], fill=IGNORE),
            ),
        ],
        ids=["vertical flip", "crop", "larger", "smaller", "shift", "shear"],
    )
    def test_warps_equal_torchvision(self, matrix, size, judge):
        index = torch.randint(0, 5, (2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
        warped = Masks(index, 5).warp(one(matrix).expand(2, 3, 3), size)
        assert warped.index.dtype == torch.uint8
        assert torch.equal(warped.index, judge(index))

    @pytest.mark.parametrize("degrees", [-90, 31, 137])
    def test_turns_equal_torchvision(self, degrees):
        index = torch.randint(0, 5, (1, 41, 51), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
        ours = Masks(index, 5).warp(one(centred(_rotation(degrees), (41, 51))), (41, 51)).index
        theirs = TF.rotate(index, -degrees, fill=IGNORE)
        assert (ours != theirs).float().mean() <= 0.001  # torchvision's points are float32: a pixel or two

    def test_a_batch_of_masks_equals_its_images(self):
        index = torch.randint(0, 5, (3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))
        matrices = torch.stack([torch.from_numpy(each) for each in (scale(2, 3), translate(1, 2), _rotation(10))])
        together = Masks(index, 5).warp(matrices, (11, 8))
        alone = [Masks(index, 5).image(i).warp(matrices[i : i + 1], (11, 8)) for i in range(3)]
        assert torch.equal(together.index, Masks.stack(alone).index)
        assert len(together) == 3
        assert Masks(index[:0], 5).warp(matrices[:0], (11, 8)).index.shape == (0, 11, 8)

    def test_pasted_and_erased_regions_are_those_of_each_image(self):
        batch = Masks(torch.tensor([[[0, 1]], [[1, 2]]], dtype=torch.uint8), 3)
        region = torch.tensor([[[True, False]], [[False, True]]])
        before = batch.index.clone()
        assert batch.paste(mask([[2, 2]]), region).index.tolist() == [[[2, 1]], [[1, 2]]]
        assert batch.erase(region).index.tolist() == [[[IGNORE, 1]], [[1, IGNORE]]]
        assert torch.equal(batch.index, before)

    def test_blend_weighs_each_image_by_its_own_amount(self):
        left = Masks(torch.tensor([[[0, 2]], [[1, 2]]], dtype=torch.uint8), 3)
        mixed = left.blend(left.renumbered([1, 0, 2]), torch.tensor([0.25, 0.75]))
        assert mixed.dense()[:, :, 0].transpose(1, 2).tolist() == [[[0.75, 0.25, 0], [0, 0, 1]],
                                                                   [[0.75, 0.25, 0], [0, 0, 1]]]  # fmt: skip
        assert mixed.index.tolist() == [[[0, 2]], [[0, 2]]]
        again = mixed.blend(left, torch.tensor([0.5, 0.5]))
        assert again.dense()[0, :, 0, 0].tolist() == [0.875, 0.125, 0]

    def test_what_is_ignored_has_no_probability_and_stays_ignored(self):
        mixed = mask([[0, 1, IGNORE]]).blend(mask([[1, IGNORE, 1]]), torch.tensor([0.25]))
        assert mixed.dense()[0, :, 0].T.tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 0, 0]]
        moved = mixed.warp(one(translate(1, 0)), (1, 4))
        assert moved.index.tolist() == [[[IGNORE, 0, IGNORE, IGNORE]]]
        assert moved.dense()[0, :, 0].T.tolist() == [[0, 0, 0], [0.75, 0.25, 0], [0, 0, 0], [0, 0, 0]]

    def test_renumbering_moves_classes_and_probabilities_and_not_ignored_pixels(self):
        renumbered = mask([[0, 1, 2, IGNORE]]).renumbered([2, 0, 1])
        assert renumbered.index.tolist() == [[[2, 0, 1, IGNORE]]]
        assert renumbered.index.dtype == torch.uint8
        mixed = mask([[0, 1]]).blend(mask([[1, 1]]), torch.tensor([0.25]))
        both = Masks.stack([mixed, mask([[2, 2]])]).renumbered([2, 0, 1])
        assert both.image(0).dense()[0, :, 0].T.tolist() == [[0.25, 0, 0.75], [1, 0, 0]]
        assert both.image(0).index.tolist() == [[[2, 0]]]
        assert both.image(1).dense()[0, :, 0].T.tolist() == [[0, 1, 0], [0, 1, 0]]

    def test_counts_are_pixels_of_each_class_and_not_those_ignored(self):
        assert mask([[0, 1, 1], [IGNORE, 1, IGNORE]]).counts(4).tolist() == [1, 3, 0, 0]
        assert mask([[IGNORE]]).counts(2).tolist() == [0, 0]

    def test_254_classes_fit(self):
        index = torch.tensor([[[253, IGNORE]]], dtype=torch.uint8)
        assert Masks(index, 254).dense()[0, :, 0].sum(dim=0).tolist() == [1, 0]
        assert Masks(index, 254).dense()[0, 253, 0].tolist() == [1, 0]

    def test_no_single_objects_are_known(self):
        assert mask([[1, 2]]).regions() == Labels.one_hot(0, 2).regions() == []

    def test_blank_is_ignore(self):
        assert (mask([[1]]).blank((2, 3)).index == IGNORE).all()


def _whole_box(random) -> tuple[int, int, int, int]:
    (x0, x1), (y0, y1) = (sorted(random.choice(21, 2, replace=False).tolist()) for _ in range(2))
    return x0, y0, x1, y1


def _area(xyxy: torch.Tensor) -> torch.Tensor:
    return (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=0).prod(dim=1)


def _rotation(degrees: float):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return affine(cos, -sin, 0, sin, cos, 0)
