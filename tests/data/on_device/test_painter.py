"""The device's painter beside the CPU's: equal truth, and pixels that differ by filters and rounding alone."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.stand_ins import CPU, path, quick_warp, slow_warp
from tests.test_warp_triton import run as run
from tests.truths import box_truth, label_truth, mask_truth
from vision_tasks import luck
from vision_tasks.augment.plan import Planner, fitted
from vision_tasks.config import Policy
from vision_tasks.data.caches.device import DeviceCache
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.originals import mean_grey, mean_greys, settled_by
from vision_tasks.data.on_device.path import DevicePath, _find_warp
from vision_tasks.types import Bands, Edit, Overlay, Patch, Sample
from vision_tasks.warp import BORDER, settled

CANVAS = (24, 32)
COUNT = 4


TRUTHS = (label_truth, box_truth, mask_truth)
POLICIES = {
    "crop, flip and colour": Policy(crop_area=(0.3, 1), flip_x=0.5, brightness=0.3, contrast=0.3, saturation=0.3,
                                    hue=0.1, grey=0.2),
    "letterbox": Policy(),
    "rotate with mirror border": Policy(rotate=25, shift=0.2, border="mirror"),
    "shear and zoom": Policy(shear=10, zoom=(0.6, 1.4)),
    "mosaic": Policy(mosaic=1.0, contrast=0.3),
    "mixup": Policy(mixup=1.0, mixup_alpha=1.0),
    "cutmix": Policy(cutmix=1.0),
    "copy-paste": Policy(copy_paste=1.0),
    "erase": Policy(erase=1.0),
    "all": Policy(crop_area=(0.3, 1), flip_x=0.5, rotate=20, brightness=0.2, erase=0.5, mosaic=0.5, copy_paste=0.5,
                  cutmix=0.5, mixup=0.5),
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Soft ones: on noise the filters themselves differ."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(COUNT):
        width, height = (int(side) for side in random.integers(40, 120, 2))
        coarse = Image.fromarray(random.integers(50, 206, (3, 4, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=95)
    return sorted(folder.iterdir())


def samples(paths, truth):
    return [Sample(each.name, each, partial(truth, index)) for index, each in enumerate(paths)]


def plans(loaded, policy, size=COUNT, epoch=1):
    planner = Planner(policy, CANVAS, "letterbox", luck.keys(sample.id for sample in loaded), seed=0, epochs=5)
    order = np.arange(len(loaded))
    return [planner.plan(epoch, order[start : start + size]) for start in range(0, len(order), size)]


def both(loaded, planned, warp=quick_warp, **options):
    """The same plans by the CPU's painter and by the device's."""
    by_cpu = list(Loader(loaded, planned, CANVAS, detail=CANVAS, **options))
    return by_cpu, list(Loader(loaded, planned, CANVAS, detail=CANVAS, device_path=path(warp=warp), **options))


def assert_equal_targets(ours, expected):
    assert type(ours) is type(expected)
    for name, value in vars(expected).items():
        found = getattr(ours, name)
        assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value, name


def assert_equal_batches(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        assert torch.equal(a.images, b.images)
        assert_equal_targets(a.targets, b.targets)
        assert a.failures == b.failures


def assert_same_but_filters(ours, expected):
    assert ours.images.is_contiguous(memory_format=torch.channels_last)
    assert ours.images.dtype == torch.float32
    assert ours.images.shape == expected.images.shape
    apart = (ours.images - expected.images).abs() * 255
    assert (apart <= 2).float().mean() >= 0.999, f"{apart.max():.2f}"
    assert_equal_targets(ours.targets, expected.targets)
    assert [info.id for info in ours.info] == [info.id for info in expected.info]
    for a, b in zip(ours.info, expected.info, strict=True):
        np.testing.assert_array_equal(a.placement, b.placement)
    assert ours.failures == expected.failures


@pytest.mark.parametrize(
    ("name", "truth"),
    [(name, truth) for name in POLICIES for truth in (TRUTHS if name in ("erase", "all") else (box_truth,))],
)
def test_equals_the_painter_of_the_cpu(pictures, name, truth):
    loaded = samples(pictures, truth)
    for expected, ours in zip(*both(loaded, plans(loaded, POLICIES[name], 3), slow_warp), strict=True):
        assert_same_but_filters(ours, expected)


@pytest.mark.parametrize("place", [0, 2])
def test_an_unreadable_image_fails_alone(pictures, tmp_path, place):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(pictures[0].read_bytes()[:300])
    loaded = samples([*pictures[:place], bad, *pictures[place : place + 2]], box_truth)
    for policy in (Policy(), Policy(mosaic=1.0), Policy(mixup=1.0), Policy(cutmix=1.0), Policy(copy_paste=1.0)):
        for expected, ours in zip(*both(loaded, plans(loaded, policy, 5)), strict=True):
            assert len(ours) == len(loaded) - 1
            assert_same_but_filters(ours, expected)


def test_a_batch_of_nothing_readable_is_empty(pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    (expected,), (ours,) = both(samples([bad], label_truth), [fitted([0], CANVAS, "stretch")])
    assert ours.images.shape == expected.images.shape == (0, 3, *CANVAS)
    assert ours.failures == expected.failures


@pytest.mark.parametrize("truth", ["original", "none"])
def test_evaluation_and_prediction_go_the_same_way(pictures, truth):
    loaded = samples(pictures, mask_truth)
    planned = [[(*canvas, Overlay(canvas, 0.5))] for canvas in fitted(range(COUNT), CANVAS, "letterbox")]
    for expected, ours in zip(*both(loaded, planned, truth=truth), strict=True):
        assert ((ours.images - expected.images).abs() <= 2 / 255).float().mean() >= 0.999
        assert ours.targets is None
        assert len(ours.originals) == len(expected.originals)
        for a, b in zip(ours.originals, expected.originals, strict=True):
            assert_equal_targets(a, b)


def pixels_of(file):
    return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)


def test_pixels_of_a_container_and_bytes_of_a_shard_are_taken_as_a_files_are(pictures):
    files = samples(pictures, label_truth)
    of_bytes = [Sample(s.id, s.path, s.truth, data=s.path.read_bytes) for s in files]
    of_pixels = [
        Sample(s.id, s.path, s.truth, pixels=partial(lambda p: np.array(Image.open(p)), s.path)) for s in files
    ]
    planned = plans(files, POLICIES["all"])
    whole = (999, 999)  # so that no decoder shrinks a file
    expected = list(Loader(files, planned, CANVAS, whole, device_path=path()))
    for others in (of_bytes, of_pixels):
        assert_equal_batches(Loader(others, planned, CANVAS, whole, device_path=path()), expected)


def recording(seen):
    def warp(images, canvas, matrix, size, count, **options):
        seen.append((images, canvas, matrix, count, options))
        return quick_warp(images, canvas, matrix, size, count, **options)

    return warp


def test_the_warp_is_told_how_far_a_decoder_has_shrunk_an_image(tmp_path):
    smooth = Image.fromarray(np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8))
    for index, side in enumerate((480, 90)):
        smooth.resize((side, side), Image.Resampling.BICUBIC).save(tmp_path / f"{index}.jpg", quality=95)
    loaded = samples(sorted(tmp_path.iterdir()), label_truth)
    planned, seen = [fitted([0, 1], CANVAS, "letterbox")], []
    (ours,) = Loader(loaded, planned, CANVAS, CANVAS, device_path=path(warp=recording(seen)))
    (expected,) = Loader(loaded, planned, CANVAS, CANVAS)
    ((images, _, matrix, _, options),) = seen
    assert options["reduction"].tolist() == [8, 1]
    assert images.size.tolist() == [[60, 60], [90, 90]]
    np.testing.assert_allclose(matrix[:, 0, 0], [24 / 60, 24 / 90])
    assert_same_but_filters(ours, expected)


def test_a_batch_is_one_warp_and_what_is_mixed_in_is_warped_with_it(pictures):
    loaded, seen = samples(pictures, box_truth), []
    first, second = fitted([0, 1], CANVAS, "letterbox")
    over = Overlay(second, regions=lambda _: [(0, 0, 8, 8), (20, 10, 30, 20)])
    list(Loader(loaded, [[(*first, over), second]], CANVAS, CANVAS, device_path=path(warp=recording(seen))))
    ((_, canvas, _, count, options),) = seen
    assert (canvas.tolist(), count) == ([0, 1, 2], 3)  # two canvases, and the one that lies over the first
    assert options["colour"] is options["mirror"] is None


def test_what_changes_pixels_in_between_is_painted_by_the_cpu(pictures):
    def darker(pixels, truth):
        pixels //= 2
        return truth

    loaded = samples(pictures, label_truth)
    first, second = fitted([0, 1], CANVAS, "letterbox")
    for canvas in ((*first, Edit(darker)), (*first, Overlay((*second, Edit(darker)), 0.5))):
        (expected,), (ours,) = both(loaded, [[canvas]])
        assert torch.equal(ours.images, expected.images)
    (one,), (two,) = both(loaded, [[first]], bands=Bands((3, 1)))
    assert torch.equal(one.images, two.images)


def test_without_triton_batches_are_painted_by_the_cpu_and_that_is_said(pictures, monkeypatch):
    monkeypatch.setattr("vision_tasks.data.on_device.path._find_warp", lambda _: (None, "Triton isn't here"))
    monkeypatch.setattr("vision_tasks.data.on_device.path.free_memory", lambda _: 1 << 30)
    way = DevicePath.to(torch.device("cuda"), "auto", cache=True)
    ((remark,), later) = way.remarks(), way.remarks()
    assert "Triton" in remark
    assert later == []
    assert not way.takes([fitted([0], CANVAS, "stretch")[0]], None)
    assert DevicePath.to(torch.device("cpu")) is None


def test_where_triton_cannot_build_its_kernel_the_cpu_paints_and_that_is_said(monkeypatch):
    def warp_batch(*_):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")

    monkeypatch.setattr("vision_tasks.warp_triton.warp_batch", warp_batch)
    assert _find_warp(CPU) == (None, "Triton can't build its kernel here (Failed to find C compiler.)")
    monkeypatch.setattr("vision_tasks.warp_triton.warp_batch", print)
    assert _find_warp(CPU) == (print, "")


def test_an_image_twice_on_its_way_takes_the_room_of_one(pictures):
    cache, loaded = DeviceCache(10**9), samples(pictures, label_truth)
    twice = [[fitted([0], CANVAS, "letterbox")[0]] * 2]
    list(Loader(loaded, twice, CANVAS, (999, 999), device_path=path(cache=cache)))
    width, height = Image.open(pictures[0]).size
    assert sum(len(kept.held) for kept in cache._known.values()) == 3 * width * height


def test_mean_greys_of_a_device_are_those_of_the_cpu():
    random = np.random.default_rng(3)
    images = [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((1, 1), (7, 300), (130, 200), (64, 63))]
    colour = random.normal(size=(3, 5)).astype(np.float32)
    greys = mean_greys([torch.from_numpy(image) for image in images])
    for image, grey in zip(images, greys, strict=True):
        assert abs(grey - mean_grey(image)) <= 1e-7
        np.testing.assert_array_equal(settled_by(colour, mean_grey(image)), settled(colour, image))
    assert mean_greys([]) == []


def epochs(loaded, way, count=2):
    return [
        list(Loader(loaded, plans(loaded, POLICIES["all"], 2, epoch), CANVAS, CANVAS, device_path=way))
        for epoch in range(count)
    ]


@pytest.mark.parametrize("budget", [10**9, 12_000, 0])
def test_batches_are_the_same_bits_with_a_cache_on_the_device(pictures, budget):
    loaded = samples(pictures, box_truth)
    cache = DeviceCache(budget)
    kept, plain = epochs(loaded, path(cache=cache)), epochs(loaded, path())
    for ours, expected in zip(kept, plain, strict=True):
        assert_equal_batches(ours, expected)
    assert 0 <= cache.used <= budget
    assert bool(cache.remark()) == (budget < 10**9)
    assert cache.remark() == ""


def test_an_image_on_the_device_is_not_read_again_unless_its_file_was_edited(pictures, tmp_path, monkeypatch):
    copies = []
    for picture in pictures[:2]:
        copies.append(tmp_path / picture.name)
        copies[-1].write_bytes(picture.read_bytes())
    loaded, way, read = samples(copies, label_truth), path(cache=DeviceCache(10**9)), []
    from vision_tasks.data.on_device import path as device_path

    original = device_path.decode
    monkeypatch.setattr(device_path, "decode", lambda *given: read.append(1) or original(*given))
    planned = [fitted([0, 1], CANVAS, "letterbox")]
    list(Loader(loaded, planned, CANVAS, CANVAS, device_path=way))
    list(Loader(loaded, planned, CANVAS, CANVAS, device_path=way))
    assert len(read) == 2
    copies[0].write_bytes(pictures[2].read_bytes())
    (edited,) = Loader(loaded, planned, CANVAS, CANVAS, device_path=way)
    (fresh,) = Loader(loaded, planned, CANVAS, CANVAS, device_path=path())
    assert len(read) == 3 + 2
    assert torch.equal(edited.images, fresh.images)


def test_the_fused_warp_fits_in(pictures, run):
    """Everything that its tables can say, in Triton's interpreter."""
    loaded = samples(pictures, box_truth)
    turned = Policy(rotate=25, shift=0.2, border="mirror", contrast=0.4, erase=1.0, mixup=1.0, mixup_alpha=1.0)
    planned = [plans(loaded, turned, 2)[0], plans(loaded, Policy(mosaic=1.0), 2)[0]]
    for expected, ours in zip(*both(loaded, planned, partial(run, "warp_batch")), strict=True):
        assert_same_but_filters(ours, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("decode", ["cpu", "cuda"])
def test_cuda_itself_equals_the_painter_of_the_cpu(pictures, name, truth, decode):
    loaded, cuda = samples(pictures, truth), torch.device("cuda")
    way = DevicePath.to(cuda, decode, cache=True)
    planned, whole = plans(loaded, POLICIES[name], 3), (999, 999)  # so that neither decoder shrinks a file
    assert way.takes(planned[0], None)
    expected = list(Loader(loaded, planned, CANVAS, whole))
    for _ in range(2):  # then out of the cache
        batches = Loader(loaded, planned, CANVAS, whole, device=cuda, device_path=way)
        for a, b in zip(batches, expected, strict=True):
            assert a.images.device.type == "cuda"
            assert_same_but_filters(replace(a, images=a.images.cpu(), targets=a.targets.to("cpu")), b)


def test_border_is_grey_where_nothing_is_painted(pictures):
    patch = Patch(0, lambda _: np.diag([0.1, 0.1, 1]), region=(4, 4, 30, 20))
    (batch,) = Loader(samples(pictures, label_truth), [[(patch,)]], CANVAS, CANVAS, device_path=path())
    assert (batch.images[..., 20:, :] == torch.tensor(BORDER / 255)).all()
