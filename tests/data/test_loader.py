"""The loader: plans in, the same batches out, whoever and how many did the work."""

import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from vision_tasks import luck
from vision_tasks.augment.plan import Planner, fitted
from vision_tasks.config import Policy
from vision_tasks.data.loader import Loader
from vision_tasks.types import Boxes, Labels, Masks, Sample
from vision_tasks.warp import BORDER

CANVAS = (48, 64)
BUSY = Policy(crop_area=(0.5, 1), flip_x=0.5, rotate=10, zoom=(0.8, 1.2), brightness=0.2, hue=0.1, mosaic=0.5)


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


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(flip_x=1.0), Policy(rotate=30, zoom=(0.6, 0.9)), Policy(mosaic=1.0)]
)
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
    if not policy.mosaic and not policy.rotate:
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
