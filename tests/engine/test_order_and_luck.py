"""One promise of the whole data layer: (seed, epoch, sample id) alone say what a network sees of a sample.

Not the number of threads, the size of batches, the number of processes, where a training was taken up again, what a
cache has kept, or whether a device paints. The judge is each sample painted alone, by nobody's threads.
"""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import stand_ins
from tests.truths import box_truth, label_truth, mask_truth
from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.data.caches.device import DeviceCache
from vision_tasks.data.decode_choice import DecodeChoice
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.data.painter import Painter
from vision_tasks.engine.batching import balanced_order, cut
from vision_tasks.types import Masks, Sample

CANVAS = (24, 32)
COUNT = 9


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(COUNT):
        width, height = (int(side) for side in random.integers(16, 80, 2))
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    return sorted(folder.iterdir())


chance = st.sampled_from([0.0, 0.5, 1.0])
policies = st.builds(
    Policy, crop_area=st.sampled_from([None, (0.3, 1.0)]), flip_x=chance, flip_y=chance, quarter_turns=st.booleans(),
    rotate=st.sampled_from([0.0, 25.0]), zoom=st.sampled_from([(1.0, 1.0), (0.7, 1.4)]),
    shift=st.sampled_from([0.0, 0.2]), border=st.sampled_from(["grey", "mirror"]), hue=st.sampled_from([0.0, 0.1]),
    brightness=st.sampled_from([0.0, 0.3]), erase=chance, mosaic=chance, copy_paste=chance, cutmix=chance, mixup=chance,
)  # fmt: skip


def some_path(data) -> DevicePath | None:
    """The CPU's own way, or that to a device, which stands still or keeps what it has seen."""
    decoder = data.draw(st.sampled_from([None, "cpu", "cuda"]))
    if decoder is None:
        return None
    cache = data.draw(st.sampled_from([None, 0, 30_000, 10**9]))
    return stand_ins.path(
        choice=DecodeChoice(decoder), batch_decode=stand_ins.decode_or_raise,
        cache=None if cache is None else DeviceCache(cache),
    )  # fmt: skip


def tensors(target):
    return [value for value in vars(target).values() if isinstance(value, torch.Tensor)]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_sample_looks_the_same_whoever_loads_it_with_whom(pictures, data):
    truth = data.draw(st.sampled_from([label_truth, box_truth, mask_truth]))
    seed, epoch = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    samples = [Sample(path.name, path, partial(truth, index)) for index, path in enumerate(pictures)]
    keys = luck.keys(sample.id for sample in samples)
    planner = Planner(data.draw(policies), CANVAS, "letterbox", keys, seed, epochs=4)
    order = luck.order(seed, "order", epoch, keys)
    if data.draw(st.booleans()):  # some of them several times
        order = balanced_order(np.linspace(1, 4, COUNT), seed, epoch, keys)

    processes, accumulate = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from([1, 2]))
    size = data.draw(st.integers(1 if processes == accumulate == 1 else 4, COUNT))
    shares = [cut(order, size, accumulate, processes, rank) for rank in range(processes)]
    resumed_at = data.draw(st.integers(0, len(shares[0]) - 1))
    way = some_path(data)
    detail = CANVAS if way is None else (99, 99)  # so fine that no decoder shrinks a file: one of a device never does
    painter = Painter(samples, CANVAS, detail, None, "canvas")
    for parts in shares:
        parts = parts[resumed_at:]
        plans = (planner.plan(epoch, part.samples) for part in parts)
        workers = data.draw(st.sampled_from([0, 1, 8]))
        loader = Loader(samples, plans, CANVAS, detail=detail, workers=workers, device_path=way)
        for part, batch in zip(parts, loader, strict=True):
            alone = []
            for row, position in enumerate(part.samples.tolist()):
                pixels = np.empty((*CANVAS, 3), np.uint8)
                alone.append(painter.paint(planner.plan(epoch, np.array([position]))[0], pixels))
                assert alone[-1].info.id == batch.info[row].id == samples[position % COUNT].id
                shown = batch.images[row].permute(1, 2, 0).numpy() * 255
                if way is None:
                    assert np.array_equal(np.round(shown), pixels)
                else:  # which does not round to bytes between the warp and what is mixed in
                    assert np.abs(shown - pixels).max() <= 1
            expected = type(batch.targets).stack([painted.target for painted in alone])
            for a, b in zip(tensors(batch.targets), tensors(expected), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("decoder", ["cpu", "cuda"])
def test_what_a_device_paints_has_the_same_bits_in_any_batch(pictures, decoder):
    samples = [Sample(path.name, path, partial(mask_truth, index)) for index, path in enumerate(pictures)]
    policy = Policy(crop_area=(0.3, 1.0), rotate=25, contrast=0.3, mosaic=0.5, copy_paste=0.5, cutmix=0.5, mixup=0.5)
    planner = Planner(policy, CANVAS, "letterbox", luck.keys(sample.id for sample in samples), 0, epochs=4)

    def load(size, workers, cache):
        way = stand_ins.path(choice=DecodeChoice(decoder), batch_decode=stand_ins.decode_or_raise, cache=cache)
        for _ in range(2):  # the second time out of the cache, if there is one
            plans = [planner.plan(0, np.arange(start, min(start + size, COUNT))) for start in range(0, COUNT, size)]
            batches = list(Loader(samples, plans, CANVAS, CANVAS, workers=workers, device_path=way))
        return torch.cat([batch.images for batch in batches]), Masks.stack([batch.targets for batch in batches])

    images, targets = load(COUNT, 1, None)
    for size, workers, cache in ((1, 8, None), (4, 3, DeviceCache(10**9)), (COUNT, 8, DeviceCache(20_000))):
        others, truths = load(size, workers, cache)
        assert torch.equal(images, others)
        assert torch.equal(targets.index, truths.index)


def test_another_seed_epoch_or_time_of_a_sample_looks_otherwise(pictures):
    keys = luck.keys(path.name for path in pictures)
    samples = [Sample(path.name, path, partial(label_truth, 0)) for path in pictures]
    painter = Painter(samples, CANVAS, CANVAS, None, "canvas")

    def paint(seed, epoch, position):
        pixels = np.empty((*CANVAS, 3), np.uint8)
        planner = Planner(Policy(crop_area=(0.3, 1.0)), CANVAS, "letterbox", keys, seed, epochs=4)
        painter.paint(planner.plan(epoch, np.array([position]))[0], pixels)
        return pixels

    first = paint(0, 0, 2)
    for other in (paint(1, 0, 2), paint(0, 1, 2), paint(0, 0, 2 + COUNT)):
        assert not np.array_equal(first, other)
