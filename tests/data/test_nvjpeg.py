"""JPEG files decoded many at once, with stand-ins that fail as nvJPEG does: for the whole batch."""

import importlib
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from tests.data.on_device.test_painter import (
    CANVAS,
    assert_equal_batches,
    assert_same_but_filters,
    box_truth,
    label_truth,
    plans,
    samples,
)
from tests.stand_ins import decode_or_raise, path
from vision_tasks.augment.plan import fitted
from vision_tasks.config import Policy
from vision_tasks.data import nvjpeg
from vision_tasks.data.caches.device import DeviceCache
from vision_tasks.data.decode import DecodeError, decode
from vision_tasks.data.decode_choice import DecodeChoice
from vision_tasks.data.loader import Loader
from vision_tasks.data.nvjpeg import decode_each, problem_of, unread_jpeg


def way(batch_decode=decode_or_raise, **options):
    return path(choice=DecodeChoice("cuda"), batch_decode=batch_decode, **options)


def soft(width, height, seed=0):
    coarse = Image.fromarray(np.random.default_rng(seed).integers(50, 206, (3, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path):
    """Of sizes that no decoder shrinks for this canvas, so that both decoders make the same of them."""
    for index in range(4):
        soft(40 + index, 60 - index, index).save(tmp_path / f"{index}.jpg", quality=95)
    return sorted(tmp_path.iterdir())


def spoil_scan(path):
    """Cut out of the middle: header and end are as they were."""
    data = path.read_bytes()
    path.write_bytes(data[:170] + b"\xff\xd9")


def load(loaded, planned, way=None):
    return list(Loader(loaded, planned, CANVAS, CANVAS, device_path=way))


def counted(calls):
    def batch_decode(files):
        calls.append(len(files))
        return decode_or_raise(files)

    return batch_decode


def test_a_batch_is_decoded_at_once_and_equals_the_cpus(files):
    loaded, calls = samples(files, box_truth), []
    policy = Policy(flip_x=0.5, contrast=0.4, mosaic=0.5, mixup=0.5)
    for expected, ours in zip(
        load(loaded, plans(loaded, policy)), load(loaded, plans(loaded, policy), way(counted(calls))), strict=True
    ):
        assert_same_but_filters(ours, expected)
    assert len(calls) == 1
    assert calls[0] >= len(files)


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"no image at all"),
    lambda path: path.write_bytes(path.read_bytes()[:-40]),
    lambda path: path.write_bytes(path.read_bytes()[:30]),
    spoil_scan,
], ids=["empty", "text", "cut short", "no header", "no scan"])  # fmt: skip
def test_a_corrupt_file_fails_alone_for_the_reason_that_the_cpu_gives(files, spoil):
    spoil(files[1])
    with pytest.raises(DecodeError) as reason:
        decode(files[1].read_bytes())
    loaded = samples(files, box_truth)
    for policy in (Policy(), Policy(mosaic=1.0), Policy(mixup=1.0)):
        (expected,), (ours,) = load(loaded, plans(loaded, policy)), load(loaded, plans(loaded, policy), way())
        assert_same_but_filters(ours, expected)
        assert len(ours) == 3
        assert {(failure.path, failure.reason) for failure in ours.failures} == {(files[1], str(reason.value))}


def test_what_the_device_gives_up_on_the_cpu_decodes(files):
    """Not an error of the file: of four, one is read by one decoder only."""
    given = files[2].read_bytes()

    def picky(batch):
        if any(file.numpy().tobytes() == given for file in batch):
            raise RuntimeError("not supported")
        return decode_or_raise(batch)

    loaded = samples(files, label_truth)
    planned = [fitted(range(4), CANVAS, "letterbox")]
    assert_equal_batches(load(loaded, planned, way(picky)), load(loaded, planned, path()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_part_of_the_way_to_the_original(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    soft(50, 30).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    calls = []
    loaded = samples([tmp_path / "turned.jpg"], label_truth)
    planned = [fitted([0], CANVAS, "letterbox")]
    (expected,), (ours,) = load(loaded, planned), load(loaded, planned, way(counted(calls)))
    assert calls == [1]
    assert ours.info[0].size == ((50, 30) if orientation >= 5 else (30, 50))
    assert_same_but_filters(ours, expected)


def test_only_usual_files_are_left_to_the_device(tmp_path, files):
    picture = soft(40, 30)
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture.save(tmp_path / "picture.png")
    picture.save(tmp_path / "rgb.jpg", keep_rgb=True)
    twelve = bytearray(files[0].read_bytes())
    frame = twelve.index(b"\xff\xc0")
    twelve[frame + 4] = 12  # bits
    (tmp_path / "twelve.jpg").write_bytes(twelve)
    for name in ("cmyk.jpg", "picture.png", "rgb.jpg"):
        assert unread_jpeg((tmp_path / name).read_bytes()) is None, name
    try:
        assert unread_jpeg(bytes(twelve)) is None
    except DecodeError as error:  # as the CPU's decoder says
        with pytest.raises(DecodeError, match=str(error)):
            decode(bytes(twelve))
    picture.convert("L").save(tmp_path / "grey.jpg")
    picture.save(tmp_path / "progressive.jpg", progressive=True)
    for name in ("grey.jpg", "progressive.jpg"):
        image = unread_jpeg((tmp_path / name).read_bytes())
        assert image.pixels.shape == (30, 40, 3)
        assert image.pixels.strides == (0, 0, 0)  # no memory is taken for what nobody looks at
        assert image.reduction == 1


def test_a_list_is_halved_until_only_what_fails_has_failed():
    calls = []

    def batch_decode(files):
        calls.append(len(files))
        if any(int(file[0]) in (3, 6) for file in files):
            raise RuntimeError
        return files

    files = [torch.tensor([i]) for i in range(8)]
    decoded = decode_each(files, batch_decode)
    assert [index for index, image in enumerate(decoded) if image is None] == [3, 6]
    assert all(image is files[index] for index, image in enumerate(decoded) if image is not None)
    assert len(calls) <= 1 + 2 * 2 * 3
    assert decode_each([], batch_decode) == []


def test_an_image_of_another_size_than_its_header_says_is_the_cpus(files):
    loaded, planned = samples(files[:1], label_truth), [fitted([0], CANVAS, "letterbox")]
    smaller = way(lambda batch: [image[:, :-1] for image in decode_or_raise(batch)])
    assert_equal_batches(load(loaded, planned, smaller), load(loaded, planned, path()))


def test_what_the_device_decoded_it_keeps(files):
    loaded, calls, cache = samples(files, label_truth), [], DeviceCache(10**9)
    policy = Policy(crop_area=(0.5, 1), contrast=0.4)
    keeping = way(counted(calls), cache=cache)
    for epoch in (1, 2):
        planned = plans(loaded, policy, epoch=epoch)
        assert_equal_batches(load(loaded, planned, keeping), load(loaded, planned, way()))
    assert calls == [4]
    assert cache.used == sum(3 * image.size[0] * image.size[1] for image in map(Image.open, files))


def test_bytes_of_shards_are_decoded_by_the_device_too(files):
    loaded, calls = samples(files, label_truth), []
    of_bytes = [type(sample)(sample.id, sample.path, sample.truth, data=sample.path.read_bytes) for sample in loaded]
    planned = [fitted(range(4), CANVAS, "letterbox")]
    assert_equal_batches(load(of_bytes, planned, way(counted(calls))), load(loaded, planned, way()))
    assert calls == [4]


def test_a_decoder_that_does_not_work_at_all_is_found_out():
    def absent(files):
        raise RuntimeError("compiled without it\nand so on")

    assert problem_of(decode_or_raise) == ""
    assert problem_of(absent) == "compiled without it"


def test_the_decoder_is_told_of_by_no_warning(files):
    """torchvision has one with each call; the CPU's decoder of it stands for the device's."""
    file = torch.frombuffer(bytearray(files[0].read_bytes()), dtype=torch.uint8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        importlib.reload(nvjpeg)  # which asks for silence
        (image,) = decode_jpeg([file], mode=ImageReadMode.RGB)
    assert not caught
    expected = cv2.cvtColor(cv2.imread(str(files[0])), cv2.COLOR_BGR2RGB)
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nvjpeg_itself(files):
    from vision_tasks.data.nvjpeg import batch_decoder

    batch_decode = batch_decoder(torch.device("cuda"))
    assert problem_of(batch_decode) == ""
    batch = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files]
    broken = torch.cat([batch[0][:170], torch.tensor([0xFF, 0xD9], dtype=torch.uint8)])
    decoded = decode_each([*batch, broken], batch_decode)
    for file, image in zip(batch, decoded, strict=False):
        assert (image.cpu().int() - decode_or_raise([file])[0].int()).abs().max() <= 3
