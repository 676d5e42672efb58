"""The loader: plans in, the same batches out, whoever and how many did the work."""

import threading
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from vision_tasks import luck
from vision_tasks.augment.plan import Planner, fitted
from vision_tasks.config import Policy
from vision_tasks.data.decode import DecodeError
from vision_tasks.data.loader import Loader
from vision_tasks.errors import UserError
from vision_tasks.geometry import footprint, letterbox
from vision_tasks.types import Bands, Boxes, Failure, Labels, Masks, Overlay, Patch, Sample
from vision_tasks.warp import BORDER

CANVAS = (48, 64)
BUSY = Policy(
    crop_area=(0.5, 1), flip_x=0.5, rotate=10, zoom=(0.8, 1.2), brightness=0.2, hue=0.1, erase=0.5, mosaic=0.5,
    copy_paste=0.5, cutmix=0.5, mixup=0.5,
)  # fmt: skip


def label_truth(index, size):
    return Labels.one_hot(index % 3, 3)


def box_truth(index, size):
    height, width = size
    return Boxes.single(
        torch.tensor([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]]), torch.tensor([index % 3])
    )


def mask_truth(index, size):
    rows = torch.zeros(1, *size, dtype=torch.uint8)
    rows[:, size[0] // 4 : size[0] // 2] = 1 + index % 2
    return Masks(rows, 3)


TRUTHS = (label_truth, box_truth, mask_truth)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    paths = []
    for i in range(13):
        height, width = random.integers(40, 160, 2)
        coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        paths.append(folder / f"{i}.jpg")
        coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def samples(paths, truth):
    return [Sample(path.name, path, partial(truth, i)) for i, path in enumerate(paths)]


def batches(loaded, policy, batch_size, **options):
    keys = luck.keys(sample.id for sample in loaded)
    planner = Planner(policy, CANVAS, "letterbox", keys, seed=0, epochs=5)
    order = np.arange(len(loaded))
    plans = [planner.plan(1, order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    return list(Loader(loaded, plans, CANVAS, detail=CANVAS, **options))


def tensors(target):
    return [value for value in vars(target).values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("truth", TRUTHS)
def test_same_batches_for_any_workers_and_batch_size(pictures, truth):
    loaded = samples(pictures, truth)
    one = batches(loaded, BUSY, 13, workers=1)[0]
    for workers, size in ((8, 13), (2, 4), (3, 1)):
        several = batches(loaded, BUSY, size, workers=workers)
        assert torch.equal(torch.cat([batch.images for batch in several]), one.images)
        again = type(one.targets).stack([batch.targets.image(i) for batch in several for i in range(len(batch))])
        for a, b in zip(tensors(again), tensors(type(one.targets).stack([one.targets])), strict=True):
            assert torch.equal(a, b)


def test_images_are_channels_last_floats_in_the_unit_interval(pictures):
    batch = batches(samples(pictures, label_truth), BUSY, 5)[0]
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (5, 3, *CANVAS)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batch.images.min() < batch.images.max() <= 1


def test_contrast_turns_about_the_mean_of_each_image_by_itself(tmp_path):
    """A dark and a bright image beside each other, against torchvision with the factor that the plan drew."""
    random = np.random.default_rng(0)
    pictures = [random.integers(low, low + 60, (*CANVAS, 3), dtype=np.uint8) for low in (0, 180)]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    loaded = samples([tmp_path / "0.png", tmp_path / "1.png"], label_truth)
    batch = batches(loaded, Policy(contrast=0.5), 2)[0]
    planner = Planner(Policy(contrast=0.5), CANVAS, "letterbox", luck.keys(["0.png", "1.png"]), seed=0, epochs=5)
    for ours, picture, (patch,) in zip(batch.images, pictures, planner.plan(1, np.arange(2)), strict=True):
        factor = float(patch.colour[0, 0])
        assert abs(factor - 1) > 0.05
        theirs = TF.adjust_contrast(torch.from_numpy(picture).permute(2, 0, 1).double() / 255, factor)
        assert (ours - theirs).abs().max() <= 1.5 / 255


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(flip_x=1.0), Policy(rotate=30, zoom=(0.6, 0.9)), Policy(mosaic=1.0), Policy(cutmix=1.0),
     Policy(mosaic=1.0, cutmix=1.0)],
)  # fmt: skip
def test_boxes_and_masks_follow_the_image(tmp_path, policy):
    """A red rectangle on black: its box and its mask must land where its pixels land."""
    paths = []
    for i in range(4):
        picture = np.zeros((90, 120, 3), np.uint8)
        picture[20 + i : 60, 30 : 80 - i] = (255, 0, 0)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(picture).save(paths[-1])

    def box(index, size):
        return Boxes.single(torch.tensor([[30.0, 20 + index, 80 - index, 60]]), torch.tensor([0]))

    def mask(index, size):
        rows = torch.zeros(1, *size, dtype=torch.uint8)
        rows[:, 20 + index : 60, 30 : 80 - index] = 1
        return Masks(rows, 2)

    boxed, masked = batches(samples(paths, box), policy, 4)[0], batches(samples(paths, mask), policy, 4)[0]
    red = (boxed.images[:, 0] > 0.7) & (boxed.images[:, 1] < 0.2)
    disagree = (masked.targets.index == 1) != red
    assert disagree.float().mean() < 0.02
    if policy in (Policy(), Policy(flip_x=1.0)):
        for i in range(4):
            rows, columns = torch.nonzero(red[i], as_tuple=True)
            found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (boxed.targets.image(i).xyxy[0, 0] - found).abs().max() <= 1
    centres = [
        ((x0 + x1) / 2, (y0 + y1) / 2, i)
        for i in range(4)
        for x0, y0, x1, y1 in boxed.targets.image(i).xyxy[0].tolist()
    ]
    assert centres
    for x, y, i in centres:
        assert red[i, int(y), int(x)]


def test_original_truth_and_no_truth(pictures):
    loaded = samples(pictures, mask_truth)
    plans = [fitted(range(3), CANVAS, "letterbox")]
    original = next(iter(Loader(loaded, plans, CANVAS, detail=CANVAS, truth="original")))
    assert [truth.index.shape[1:] for truth in original.originals] == [info.size for info in original.info]
    assert original.targets is None
    nothing = next(iter(Loader(loaded, plans, CANVAS, detail=CANVAS, truth="none")))
    assert nothing.targets is None
    assert nothing.originals == ()


def test_placement_takes_a_prediction_back(pictures):
    batch = next(
        iter(Loader(samples(pictures, box_truth), [fitted(range(5), CANVAS, "letterbox")], CANVAS, detail=CANVAS))
    )
    for i, info in enumerate(batch.info):
        back = batch.targets.image(i).warp(torch.from_numpy(np.linalg.inv(info.placement))[None], info.size)
        height, width = info.size
        expected = torch.tensor([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        torch.testing.assert_close(back.xyxy[0, 0], expected, atol=1e-3, rtol=0)


def test_an_unreadable_file_loses_its_row_and_is_named(pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(pictures[0].read_bytes()[:200])
    loaded = samples([pictures[0], bad, pictures[1]], label_truth)
    batch = batches(loaded, Policy(), 3)[0]
    assert [info.id for info in batch.info] == [pictures[0].name, pictures[1].name]
    assert batch.images.shape[0] == len(batch.targets) == 2
    assert batch.targets.weight.argmax(1).tolist() == [0, 2]
    assert [failure.path for failure in batch.failures] == [bad]
    assert batches(samples([bad], label_truth), Policy(), 1)[0].images.shape == (0, 3, *CANVAS)


@pytest.mark.parametrize("truth", ["canvas", "original"])
def test_an_image_that_its_boxes_are_not_for_loses_its_row_and_is_named(pictures, truth):
    def boxes_of(index, size):
        if index == 1:
            raise DecodeError("its annotation is for 1x1")
        return box_truth(index, size)

    batch = batches(samples(pictures[:3], boxes_of), Policy(), 3, truth=truth)[0]
    assert [info.id for info in batch.info] == [pictures[0].name, pictures[2].name]
    assert batch.images.shape[0] == len(batch.targets or batch.originals) == 2
    assert batch.failures == (Failure(pictures[1].name, pictures[1], "its annotation is for 1x1"),)
    drawn = batches(samples(pictures[:3], boxes_of), Policy(mosaic=1.0), 3)[0]
    assert len(drawn) == 2
    assert {failure.id for failure in drawn.failures} == {pictures[1].name}


def test_an_unreadable_mosaic_partner_leaves_border(pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    loaded = samples([pictures[0], *[bad] * 3], box_truth)
    for batch in batches(loaded, Policy(mosaic=1.0), 1):
        for image in batch.images:
            assert image.isfinite().all()
    first = batches(loaded, Policy(mosaic=1.0), 1)[0]
    assert ((first.images[0] - BORDER / 255).abs() < 1e-6).all(dim=0).any()


def test_errors_of_a_worker_reach_the_user_and_no_thread_is_left(pictures):
    def broken(index, size):
        raise ValueError(f"truth of {index}")

    before = threading.active_count()
    with pytest.raises(ValueError, match="truth of"):
        batches(samples(pictures, broken), Policy(), 4)
    assert threading.active_count() == before


def test_leaving_early_leaves_no_thread(pictures):
    before = threading.active_count()
    plans = (fitted([i % 13], CANVAS, "stretch") for i in range(10_000))
    iterator = iter(Loader(samples(pictures, label_truth), plans, CANVAS, detail=CANVAS))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before
    assert next(plans) is not None  # back-pressure: most plans were never asked for


def pages(folder, count):
    """A container of many pictures, none of which is a file: [h,w,3], of different sizes."""
    random = np.random.default_rng(7)
    pixels = [random.integers(0, 256, (50 + i, 70 - i, 3), dtype=np.uint8) for i in range(count)]
    read = []

    def page(index):
        read.append(index)
        return pixels[index]

    loaded = [
        Sample(f"all.bin/{i}", folder / "all.bin", partial(label_truth, i), pixels=partial(page, i))
        for i in range(count)
    ]
    return loaded, pixels, read


def test_pixels_of_a_container_are_taken_as_a_files_are(tmp_path):
    loaded, pixels, _ = pages(tmp_path, 5)
    files = []
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        files.append(Sample(loaded[i].id, tmp_path / f"{i}.png", loaded[i].truth))
    for ours, theirs in zip(batches(loaded, BUSY, 2), batches(files, BUSY, 2), strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets.weight, theirs.targets.weight)
        for a, b in zip(ours.info, theirs.info, strict=True):
            assert (a.id, a.size) == (b.id, b.size)
            np.testing.assert_array_equal(a.placement, b.placement)


def test_a_container_is_read_picture_by_picture(tmp_path):
    loaded, _, read = pages(tmp_path, 20)
    plans = [fitted([i], CANVAS, "stretch") for i in range(20)]
    iterator = iter(Loader(loaded, plans, CANVAS, detail=CANVAS, workers=1))
    assert read == []
    next(iterator)
    assert len(read) <= 4  # the batch itself, those ahead, and the one that is being made
    iterator.close()


def test_a_damaged_picture_of_a_container_loses_its_row_and_wrong_use_is_raised(tmp_path):
    loaded, _, _ = pages(tmp_path, 3)

    def failing(error):
        raise error

    damaged = Sample("all.bin/9", loaded[0].path, loaded[0].truth, pixels=partial(failing, DecodeError("cut short")))
    batch = batches([*loaded, damaged], Policy(), 4)[0]
    assert len(batch) == 3
    assert [(failure.id, failure.reason) for failure in batch.failures] == [("all.bin/9", "cut short")]
    wrong = Sample("all.bin/9", loaded[0].path, loaded[0].truth, pixels=partial(failing, UserError("no such file")))
    with pytest.raises(UserError, match="no such file"):
        batches([wrong], Policy(), 1)


def save_bands(path, pixels):
    rasterio = pytest.importorskip("rasterio")
    height, width, count = pixels.shape
    kind = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with rasterio.open(path, "w", transform=rasterio.Affine(10, 0, 0, 0, -10, 0), **kind) as file:
        file.write(pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("numbers", [(4, 3, 2), (1, 2, 3, 4, 5, 6, 7), (5,), (2, 6)])
def test_bands_of_files_are_the_channels(tmp_path, numbers):
    """One canvas pixel a file pixel: the batch holds what the file holds, in the order that was asked for."""
    pixels = np.random.default_rng(1).integers(0, 256, (*CANVAS, 7), dtype=np.uint8)
    save_bands(tmp_path / "many.tif", pixels)
    loaded = samples([tmp_path / "many.tif"], label_truth)
    batch = batches(loaded, Policy(), 1, bands=Bands(numbers))[0]
    expected = pixels[..., [number - 1 for number in numbers]].astype(np.float32) / 255
    assert batch.images.shape == (1, len(numbers), *CANVAS)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch.images[0], torch.from_numpy(expected).permute(2, 0, 1), atol=1e-6, rtol=0)


def test_bands_are_augmented_together_and_coloured_apart(tmp_path):
    """The same picture in every channel: geometry moves all alike, colours change the first three."""
    grey = np.random.default_rng(1).integers(60, 190, (60, 80, 1), dtype=np.uint8)
    save_bands(tmp_path / "many.tif", grey.repeat(5, axis=2))
    loaded = samples([tmp_path / "many.tif"], label_truth)
    moved = batches(loaded, Policy(rotate=30, crop_area=(0.3, 0.9)), 1, bands=Bands((1, 2, 3, 4, 5)))[0].images[0]
    assert torch.equal(moved, moved[:1].expand(5, -1, -1))
    brighter = Policy(rotate=30, crop_area=(0.3, 0.9), brightness=0.5)
    tinted = batches(loaded, brighter, 1, bands=Bands((1, 2, 3, 4, 5)))[0].images[0]
    assert torch.equal(tinted[3:], moved[3:])
    assert torch.equal(tinted[:3], tinted[:1].expand(3, -1, -1))
    assert (tinted[0] - moved[0]).abs().max() > 0.02


def test_a_file_without_the_bands_is_a_failure_that_says_so(tmp_path):
    save_bands(tmp_path / "two.tif", np.zeros((*CANVAS, 2), np.uint8))
    batch = batches(samples([tmp_path / "two.tif"], label_truth), Policy(), 1, bands=Bands((1, 3)))[0]
    assert batch.images.shape == (0, 2, *CANVAS)
    assert "band 3" in batch.failures[0].reason


def test_bands_of_a_container_are_chosen_from_its_colours(tmp_path):
    loaded, pixels, _ = pages(tmp_path, 1)
    whole = fitted([0], pixels[0].shape[:2], "stretch")

    def load(bands):
        return next(iter(Loader(loaded, [whole], pixels[0].shape[:2], detail=CANVAS, bands=bands)))

    expected = torch.from_numpy(pixels[0][..., [2, 0]].astype(np.float32) / 255).permute(2, 0, 1)
    torch.testing.assert_close(load(Bands((3, 1))).images[0], expected, atol=1e-6, rtol=0)
    stretched = load(Bands((2,), (100, 200))).images[0, 0].numpy()
    np.testing.assert_allclose(stretched, ((pixels[0][..., 1] - 100.0) / 100).clip(0, 1), atol=0.51 / 255)
    assert "has no band 4" in load(Bands((4,))).failures[0].reason


@pytest.mark.parametrize("truth", TRUTHS)
def test_an_erased_rectangle_is_border_and_its_truth_is_hidden(pictures, truth):
    loaded = samples(pictures[:1], truth)
    plain = batches(loaded, Policy(), 1)[0]
    place = fitted([0], CANVAS, "letterbox")[0][0].place
    region = (10, 5, 40, 45)
    erased = next(iter(Loader(loaded, [[(Patch(0, place, erase=region),)]], CANVAS, detail=CANVAS)))
    hole = torch.zeros(1, *CANVAS, dtype=torch.bool)
    hole[:, 5:45, 10:40] = True
    grey = torch.tensor(BORDER / 255)
    torch.testing.assert_close(erased.images, torch.where(hole[:, None], grey, plain.images), atol=1e-6, rtol=0)
    for ours, expected in zip(
        tensors(erased.targets), tensors(type(plain.targets).stack([plain.targets.erase(hole)])), strict=True
    ):
        assert torch.equal(ours, expected)


def laid_over(pictures, truth, overlay):
    """The first picture alone, the second alone, and the first under the overlay; a batch of one each."""
    loaded = samples(pictures[:2], truth)
    first, second = (fitted([i], CANVAS, "letterbox")[0] for i in (0, 1))
    plans = [[first], [second], [(*first, overlay(second))]]
    return list(Loader(loaded, plans, CANVAS, detail=CANVAS))


def assert_equal_targets(ours, expected):
    for a, b in zip(tensors(type(ours).stack([ours])), tensors(type(ours).stack([expected])), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("truth", TRUTHS)
def test_a_blended_canvas_is_the_weighted_mean_of_pixels_and_truth(pictures, truth):
    first, second, mixed = laid_over(pictures, truth, lambda patches: Overlay(patches, amount=0.3))
    expected = 0.7 * first.images + 0.3 * second.images
    torch.testing.assert_close(mixed.images, expected, atol=0.51 / 255, rtol=0)
    assert_equal_targets(mixed.targets, first.targets.blend(second.targets, torch.tensor([0.3])))
    assert mixed.info[0].id == first.info[0].id


@pytest.mark.parametrize("truth", TRUTHS)
def test_chosen_regions_are_pasted_in_pixels_and_truth(pictures, truth):
    regions = [(10, 5, 40, 45), (0, 0, 20, 20)]
    first, second, mixed = laid_over(pictures, truth, lambda patches: Overlay(patches, regions=lambda _: regions))
    images, target = first.images, first.targets
    for x0, y0, x1, y1 in regions:
        hole = torch.zeros(1, *CANVAS, dtype=torch.bool)
        hole[:, y0:y1, x0:x1] = True
        images = torch.where(hole[:, None], second.images, images)
        target = target.paste(second.targets, hole)
    assert torch.equal(mixed.images, images)
    assert_equal_targets(mixed.targets, target)


def test_regions_are_chosen_by_the_truth_of_the_canvas_they_come_from(pictures):
    first, second, mixed = laid_over(
        pictures, box_truth, lambda patches: Overlay(patches, regions=lambda truth: truth.regions())
    )
    ((x0, y0, x1, y1),) = second.targets.image(0).regions()
    assert torch.equal(mixed.images[..., y0:y1, x0:x1], second.images[..., y0:y1, x0:x1])
    assert (mixed.images != first.images).any(dim=1)[0].sum() <= (x1 - x0) * (y1 - y0)
    assert second.targets.image(0).xyxy[0].tolist() == mixed.targets.image(0).xyxy[0][-1:].tolist()


@pytest.mark.parametrize("truth", [label_truth, mask_truth])
def test_truth_that_knows_no_objects_has_none_pasted(pictures, truth):
    loaded = samples(pictures, truth)
    plain, same = batches(loaded, Policy(), 13)[0], batches(loaded, Policy(copy_paste=1.0), 13)[0]
    assert torch.equal(plain.images, same.images)
    assert_equal_targets(plain.targets, same.targets)


def test_an_unreadable_second_image_is_named_and_the_first_stays(pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    for policy in (Policy(mixup=1.0), Policy(cutmix=1.0), Policy(copy_paste=1.0)):
        plain = batches(samples([pictures[0], bad], box_truth), Policy(), 1)[0]
        batch = batches(samples([pictures[0], bad], box_truth), policy, 1)[0]
        assert torch.equal(batch.images, plain.images)
        assert_equal_targets(batch.targets, plain.targets)
        assert [failure.path for failure in batch.failures] == [bad]


def test_nothing_is_laid_over_where_truth_does_not_follow(pictures):
    loaded = samples(pictures[:2], box_truth)
    first, second = fitted([0, 1], CANVAS, "letterbox")
    plan = [first, (*first, Overlay(second, amount=0.5))]
    for truth in ("none", "original"):
        (batch,) = Loader(loaded, [plan], CANVAS, detail=CANVAS, truth=truth)
        assert torch.equal(batch.images[0], batch.images[1])


def test_many_bands_are_blended_too(tmp_path):
    random = np.random.default_rng(2)
    pixels = [random.integers(0, 256, (*CANVAS, 200), dtype=np.uint8) for _ in range(2)]
    loaded = [
        Sample(str(i), tmp_path / "all", partial(label_truth, i), pixels=partial(pixels.__getitem__, i))
        for i in range(2)
    ]
    first, second = fitted([0, 1], CANVAS, "stretch")
    plan = [(*first, Overlay(second, amount=0.25))]
    (mixed,) = Loader(loaded, [plan], CANVAS, detail=CANVAS, bands=Bands(tuple(range(1, 201))))
    expected = torch.from_numpy(0.75 * pixels[0] + 0.25 * pixels[1]).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(mixed.images.double(), expected, atol=0.51 / 255, rtol=0)


@pytest.mark.parametrize("truth", TRUTHS)
def test_mirror_images_fill_where_the_image_was_but_not_the_bars_beside_it(pictures, truth):
    loaded = samples(pictures, truth)
    policy = Policy(shift=0.4)
    grey, mirror = (
        batches(loaded, policy.model_copy(update={"border": border}), 13)[0] for border in ("grey", "mirror")
    )
    for index, info in enumerate(mirror.info):
        lies = np.zeros(CANVAS, bool)
        x0, y0, x1, y1 = footprint(info.size, letterbox(info.size, CANVAS), (0, 0, CANVAS[1], CANVAS[0]))
        lies[y0:y1, x0:x1] = True
        row, column = np.mgrid[: CANVAS[0], : CANVAS[1]] + 0.5
        x, y, _ = np.linalg.inv(info.placement) @ np.stack([column.ravel(), row.ravel(), np.ones(row.size)])
        seen = ((x >= 0) & (x < info.size[1]) & (y >= 0) & (y < info.size[0])).reshape(CANVAS)
        before, after = (batch.images[index].permute(1, 2, 0).numpy() * 255 for batch in (grey, mirror))
        assert (after[~seen & ~lies].round() == BORDER).all()
        assert (after[lies & ~seen].round() != BORDER).mean() > 0.9  # greys of the picture itself are rare
        inner = cv2.erode(np.pad(seen.astype(np.uint8), 2), np.ones((5, 5)))[2:-2, 2:-2] > 0
        np.testing.assert_allclose(after[inner], before[inner], atol=1.01)
    assert_equal_targets(mirror.targets, grey.targets)
