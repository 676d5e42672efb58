"""Caches: the same batches with and without, for any number of threads and processes, whatever happens to files."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks
from tests.factories import texture, write_folder_per_class
from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.data.caches import cache as cache_module
from vision_tasks.data.caches import choice as cache_choice
from vision_tasks.data.caches import disk as cache_disk
from vision_tasks.data.caches import file as cache_file
from vision_tasks.data.caches.cache import ImageCache, content_key
from vision_tasks.data.caches.choice import estimate_size, in_words, make_cache, room_for
from vision_tasks.data.caches.file import CacheFile, UnusableError
from vision_tasks.data.caches.memory import available_memory
from vision_tasks.data.decode import Decoded, DecodeError, decode, read_image
from vision_tasks.data.loader import Loader
from vision_tasks.errors import UserError
from vision_tasks.types import Bands, Labels, Sample

CANVAS = (32, 48)
MB = 1_000_000
BUSY = Policy(crop_area=(0.3, 1), flip_x=0.5, rotate=10, brightness=0.2, mosaic=0.5, cutmix=0.3, erase=0.3)


@pytest.fixture
def pictures(tmp_path):
    """JPEGs of several sizes (one turned by EXIF, one so large that it is decoded at half its size), and a PNG."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(40, 60), (61, 35), (33, 33), (150, 200), (45, 45)]):
        image = Image.fromarray(texture(size, np.random.default_rng(number)))
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        image.save(folder / f"{number}.jpg", exif=exif)
    Image.fromarray(texture((41, 43), np.random.default_rng(9))).save(folder / "5.png")
    return sorted(folder.iterdir())


@pytest.fixture(autouse=True)
def folder_of_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "decoded"


def samples(paths):
    return [Sample(path.name, path, partial(label, i)) for i, path in enumerate(paths)]


def label(index, size):
    return Labels.one_hot(index % 3, 3)


def epoch(loaded, number, workers=3, **options):
    """All batches of an epoch; with overlays and mosaics an image is read several times."""
    planner = Planner(BUSY, CANVAS, "letterbox", luck.keys(sample.id for sample in loaded), seed=0, epochs=9)
    plans = [planner.plan(number, np.arange(start, min(start + 4, len(loaded)))) for start in range(0, len(loaded), 4)]
    return list(Loader(loaded, plans, CANVAS, detail=CANVAS, workers=workers, **options))


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets.weight, other.targets.weight)
        for info, known in zip(one.info, other.info, strict=True):
            assert (info.id, info.size) == (known.id, known.size)
            assert np.array_equal(info.placement, known.placement)
        assert one.failures == other.failures


def assert_equal_images(ours, expected):
    assert ours.pixels.dtype == np.uint8
    assert np.array_equal(ours.pixels, expected.pixels)
    assert (ours.size, ours.reduction) == (expected.size, expected.reduction)
    assert np.array_equal(ours.to_original, expected.to_original)


def in_memory(images=6, budget=MB):
    return ImageCache(CacheFile.in_memory(images, budget))


def on_disk(paths, budget=MB, detail=CANVAS):
    cache, remarks = make_cache("disk", budget, samples(paths), (detail, None))
    assert cache is not None
    return cache, remarks


def counting(monkeypatch):
    """The number of images that caches have decoded since."""

    done, decode = [], cache_module.decode
    monkeypatch.setattr(cache_module, "decode", lambda *arguments: done.append(1) or decode(*arguments))
    return done


@pytest.mark.parametrize("place", ["none", "auto", "ram", "disk"])
def test_batches_are_the_same_with_and_without(pictures, place):
    loaded = samples(pictures)
    cache, _ = make_cache(place, None, loaded, (CANVAS, None))
    assert (cache is None) == (place == "none")
    for number in (0, 1, 2):
        assert_same(epoch(loaded, number, read=cache or read_image), epoch(loaded, number))


def test_a_later_run_reads_what_an_earlier_one_kept_on_disk(pictures, monkeypatch):
    done = counting(monkeypatch)
    loaded = samples(pictures)
    expected = epoch(loaded, 0)
    for decoded in (len(pictures), 0):
        done.clear()
        assert_same(epoch(loaded, 0, read=on_disk(pictures)[0], workers=1), expected)
        assert len(done) == decoded


def test_every_image_is_decoded_once(pictures, monkeypatch):
    done = counting(monkeypatch)
    cache = in_memory()
    for number in range(3):
        epoch(samples(pictures), number, read=cache, workers=1)
    assert len(done) == len(pictures)


@pytest.mark.parametrize("detail", [None, (10, 10), CANVAS])
def test_an_entry_is_what_the_decoder_gave(pictures, detail):
    cache, disk = in_memory(), on_disk(pictures)[0]
    for path in (*pictures, *pictures):
        assert_equal_images(cache(path, detail), read_image(path, detail))
        assert_equal_images(disk(path, detail), read_image(path, detail))


def test_details_and_bands_are_kept_apart(pictures):
    cache = in_memory(12)
    for _ in range(2):
        for detail in (None, (20, 20)):
            for bands in (None, Bands((3,)), Bands((3, 1)), Bands((3, 1), (10, 200))):
                assert_equal_images(cache(pictures[3], detail, bands), read_image(pictures[3], detail, bands))


def test_kept_pixels_cannot_be_spoilt(pictures):
    cache = in_memory()
    cache(pictures[0])
    with pytest.raises(ValueError, match="read-only"):
        cache(pictures[0]).pixels[0, 0] = 0


def repaint(path, keep_dates):
    """Another picture in the same file, of the same length; a tool may put the dates back."""
    before = path.stat()
    other = texture(Image.open(path).size[::-1], np.random.default_rng(77))
    Image.fromarray(other).save(path, quality=20)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    assert path.stat().st_size == before.st_size
    if keep_dates:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("keep_dates", [False, True])
def test_a_file_edited_between_epochs_gives_its_new_pixels(pictures, keep_dates):
    loaded, cache = samples(pictures), in_memory(20)
    before = epoch(loaded, 0, read=cache)
    time.sleep(0.02)  # what the clock of a file system may not tell apart
    repaint(pictures[3], keep_dates)
    after = epoch(loaded, 0, read=cache)
    assert_same(after, epoch(loaded, 0))
    assert any(not torch.equal(a.images, b.images) for a, b in zip(after, before, strict=True))


def test_a_file_edited_between_runs_gives_its_new_pixels(pictures):
    on_disk(pictures)[0](pictures[3], CANVAS)
    repaint(pictures[3], keep_dates=True)
    assert_equal_images(on_disk(pictures)[0](pictures[3], CANVAS), read_image(pictures[3], CANVAS))


def test_a_renamed_file_is_known_and_a_swapped_one_is_not_confused(pictures, monkeypatch):
    cache = in_memory()
    first, second = (read_image(path) for path in pictures[:2])
    cache(pictures[0]), cache(pictures[1])
    done = counting(monkeypatch)
    aside = pictures[0].with_name("aside.jpg")
    pictures[0].rename(aside)
    pictures[1].rename(pictures[0])
    aside.rename(pictures[1])
    assert_equal_images(cache(pictures[0]), second)
    assert_equal_images(cache(pictures[1]), first)
    assert done == []


def test_other_limits_or_decoders_never_meet_old_entries(pictures, monkeypatch):
    data = pictures[0].read_bytes()
    keys = {content_key(data, detail, bands) for detail in (None, (8, 8)) for bands in (None, Bands((1,)))}

    monkeypatch.setattr(cache_module, "most_pixels", lambda: 10)
    assert content_key(data, None, None) not in keys
    assert len(keys) == 4
    place = CacheFile.create(pictures[0].parent / "a.cache", 4, MB).place
    monkeypatch.setattr(cache_file.cv2, "__version__", "0.0.0")
    with pytest.raises(UnusableError, match="another version"):
        CacheFile.join(place, MB)


def test_what_cannot_be_read_is_worded_as_without_a_cache(pictures):
    cache = in_memory()
    gone, broken = pictures[0].with_name("gone.jpg"), pictures[0].with_name("broken.jpg")
    broken.write_bytes(pictures[0].read_bytes()[:300])
    for path in (gone, broken, pictures[0].parent):
        with pytest.raises(DecodeError) as plain:
            read_image(path)
        for _ in range(2):
            with pytest.raises(DecodeError) as cached:
                cache(path)
            assert str(cached.value) == str(plain.value)


def test_a_file_that_goes_is_missed(pictures):
    cache = in_memory()
    cache(pictures[0])
    pictures[0].unlink()
    with pytest.raises(DecodeError, match="No such file"):
        cache(pictures[0])


def test_when_full_further_images_are_decoded_and_that_is_said_once(pictures, monkeypatch):
    cache = in_memory(budget=40 * 60 * 3 + 61 * 35 * 3 + 64)
    done = counting(monkeypatch)
    for path in (*pictures, *pictures):
        assert_equal_images(cache(path), read_image(path))
    assert len(done) == len(pictures), "what has found no room is not looked for again"
    assert cache.remark() == "the cache takes no more images (it is full); the others are decoded each time"
    cache(pictures[5])
    assert cache.remark() == ""


def test_a_full_disk_ends_the_cache_and_not_the_training(pictures, monkeypatch):
    cache = in_memory()
    cache(pictures[0])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache_file.os, "pwrite", full)
        assert_equal_images(cache(pictures[1]), read_image(pictures[1]))
    assert_equal_images(cache(pictures[2]), read_image(pictures[2]))
    assert_equal_images(cache(pictures[0]), read_image(pictures[0]))
    assert "No space left on device" in cache.remark()


def test_more_images_than_slots_are_no_harm(pictures):
    cache = in_memory(images=1)
    for path in (*pictures, *pictures):
        assert_equal_images(cache(path), read_image(path))
    assert "full" in cache.remark()


def test_many_threads_meet_in_one_cache(tmp_path):
    """In the test of a few images, threads rarely want the same one at the same time."""
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for number, path in enumerate(paths):
        Image.fromarray(texture((20, 20 + number), np.random.default_rng(number))).save(path)
    expected = {path: read_image(path) for path in paths}
    cache = in_memory(40, 10 * MB)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 20))
    with ThreadPoolExecutor(16) as pool:
        for number, image in zip(order, pool.map(lambda i: cache(paths[i]), order), strict=True):
            assert_equal_images(image, expected[paths[number]])
    assert cache.file._end() - cache.file._start <= sum(
        -(-image.pixels.nbytes // 64) * 64 for image in expected.values()
    )


def test_files_grow_beyond_what_was_mapped_first(pictures, monkeypatch):
    monkeypatch.setattr(cache_file, "_STEP", 4096)
    cache = in_memory()
    for path in (*pictures, *pictures):
        assert_equal_images(cache(path), read_image(path))


# What happens to files on the disk.


def kept(paths):
    """A file on the disk with all images in it, closed."""
    cache, _ = on_disk(paths)
    for path in paths:
        cache(path, CANVAS)
    return cache.file.place


def reopened(paths, monkeypatch):
    """The cache of a next run, how many images that had to decode, and what was said."""
    done = counting(monkeypatch)
    cache, remarks = on_disk(paths)
    for path in paths:
        assert_equal_images(cache(path, CANVAS), read_image(path, CANVAS))
    return len(done), " ".join(remarks)


@pytest.mark.parametrize("left", [0, 5, 30, 3000, 5000, "all but the last pixels"])
def test_a_file_cut_short_is_built_anew_and_that_is_said(pictures, monkeypatch, left):
    place = kept(pictures)
    with place.open("r+b") as file:
        file.truncate(CacheFile.join(place, MB)._end() - 10 if isinstance(left, str) else left)
    decoded, said = reopened(pictures, monkeypatch)
    assert decoded == len(pictures)
    assert f"the cache {place} is cut short; it is built anew" in said
    assert reopened(pictures, monkeypatch)[0] == 0


@pytest.mark.parametrize("start", [b"VTCACHE\0" + b"\1" * 24, b"\x89PNG" + b"\0" * 28])
def test_a_file_of_another_version_is_built_anew_and_that_is_said(pictures, monkeypatch, start):
    place = kept(pictures)
    with place.open("r+b") as file:
        file.write(start)
    decoded, said = reopened(pictures, monkeypatch)
    assert decoded == len(pictures)
    assert "is of another version" in said
    assert "built anew" in said


def test_a_file_made_for_fewer_images_is_built_anew(pictures, monkeypatch, tmp_path):
    kept(pictures[:1])
    decoded, said = reopened(pictures, monkeypatch)
    assert decoded == len(pictures)
    assert "was made for fewer images" in said


@pytest.mark.parametrize("what", ["slot", "pixels", "end"])
def test_damage_is_noticed_and_mended(pictures, monkeypatch, what):
    """As after a power cut: some pages have reached the disk and others, which then are zeros, have not."""
    place = kept(pictures)
    file = CacheFile.join(place, MB)
    number = file.find(content_key(pictures[3].read_bytes(), CANVAS, None))
    slot = file._slot(number)
    with place.open("r+b") as raw:
        if what == "slot":
            raw.seek(cache_file._TABLE + number * cache_file._SLOT_BYTES + 60)
            raw.write(b"\0" * 20)
        elif what == "pixels":
            raw.seek(slot.offset)
            raw.write(b"\0" * slot.bytes)
        else:
            raw.seek(cache_file._HEADER.size)
            raw.write(file._start.to_bytes(8, "little"))
    decoded, _ = reopened(pictures, monkeypatch)
    assert decoded == (0 if what == "end" else 1)
    extra = pictures[0].with_name("extra.jpg")
    Image.fromarray(texture((40, 40), np.random.default_rng(50))).save(extra)
    on_disk(pictures)[0](extra, CANVAS)
    assert reopened(pictures, monkeypatch)[0] == 0


def test_a_process_keeps_its_file_while_another_builds_it_anew(pictures, monkeypatch):
    cache, _ = on_disk(pictures)
    for path in pictures:
        cache(path, CANVAS)
    monkeypatch.setattr(cache_file, "VERSION", 99)
    assert "another version" in " ".join(on_disk(pictures)[1])
    for path in pictures:
        assert_equal_images(cache(path, CANVAS), read_image(path, CANVAS))


def test_files_that_were_used_longest_ago_make_room(pictures, monkeypatch, folder_of_caches):
    monkeypatch.setattr(cache_disk, "SHARE", 0.0)
    now = time.time()
    for number, name in enumerate(("oldest", "older", "old")):
        folder = pictures[0].parent.parent / name
        folder.mkdir()
        path = folder / "a.png"
        Image.fromarray(texture((200, 200), np.random.default_rng(number))).save(path)
        place = on_disk([path], 2 * MB)[0]
        place(path, CANVAS)
        os.utime(place.file.place, (now - 100 + number, now - 100 + number))
    _, remarks = on_disk(pictures, 300_000)
    assert [path.name.split("-")[0] for path in sorted(folder_of_caches.glob("*.cache"))] == ["old", "pictures"]
    assert "oldest-" in remarks[0]
    assert "older-" in remarks[0]
    assert "to make room" in remarks[0]


# Several processes.

CHILD = """
import sys
from pathlib import Path
from vision_tasks.data.caches import cache as cache_module
from vision_tasks.data.caches.cache import ImageCache
from vision_tasks.data.caches.file import CacheFile
from vision_tasks.data.decode import read_image
place, budget, *paths = sys.argv[1:]
cache = ImageCache(CacheFile.join(Path(place), int(budget)))
decode, count = cache_module.decode, []
cache_module.decode = lambda *arguments: count.append(1) or decode(*arguments)
for path in map(Path, paths):
    for detail in (None, (20, 20)):
        pixels = cache(path, detail).pixels
        assert (pixels == read_image(path, detail).pixels).all()
print(len(count), flush=True)
"""


def child(place, budget, paths):
    command = [sys.executable, "-c", CHILD, place, budget, *paths]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("place", ["ram", "disk"])
def test_processes_share_one_copy(pictures, place):
    """What this one has decoded, another has not to; and what that one adds is here, too."""
    cache = in_memory() if place == "ram" else on_disk(pictures)[0]
    for path in pictures:
        cache(path)
    end = cache.file._end()
    process = child(cache.file.place, MB, pictures)
    assert process.communicate(timeout=300)[0].split() == [str(len(pictures))], "only the second detail is new"
    assert cache.file._end() > end
    end = cache.file._end()
    for path in pictures:
        assert_equal_images(cache(path, (20, 20)), read_image(path, (20, 20)))
    assert cache.file._end() == end


def forked(function, *arguments):
    """A process that does this, without the seconds that imports take."""
    process = get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def read_all(place, paths):
    cache = ImageCache(CacheFile.join(place, 10 * MB))
    for path in paths:
        assert_equal_images(cache(path), read_image(path))


def test_processes_that_write_at_once_leave_a_whole_file_without_doubles(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(60)]
    for number, path in enumerate(paths):
        Image.fromarray(texture((30, 20 + number), np.random.default_rng(number))).save(path)
    cache = in_memory(60, 10 * MB)
    processes = [forked(read_all, cache.file.place, order) for order in (paths, paths, paths[::-1])]
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    total = sum(-(-read_image(path).pixels.nbytes // 64) * 64 for path in paths)
    assert total - 64 < cache.file._end() - cache.file._start <= total
    for path in paths:
        assert_equal_images(cache(path), read_image(path))


def store_numbers(place):
    file = CacheFile.join(place, 10**9)
    for number in range(60_000):
        pixels = np.full((100, 100, 3), number % 251, np.uint8)
        file.store(key_of(number), Decoded(pixels, (100, 100), np.eye(3)))


def key_of(number):
    return number.to_bytes(16, "little")


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_whole_entries(tmp_path, blow):
    file = CacheFile.create(tmp_path / "a.cache", 20_000, 10**9)
    process = forked(store_numbers, file.place)
    deadline = time.monotonic() + 120
    while file.find(key_of(30)) is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, blow)
    process.join(timeout=60)
    file = CacheFile.join(file.place, 10**9)
    stored = next(number for number in count() if file.find(key_of(number)) is None)
    assert stored > 30
    assert all(file.find(key_of(number)) is None for number in range(stored, stored + 10))
    for number in range(stored):
        assert (file.load(file.find(key_of(number))).pixels == number % 251).all()
    assert file.store(key_of(stored), read_image_of(tmp_path)) is not None, "the lock went with the process"


def read_image_of(folder):
    Image.fromarray(texture((30, 30), np.random.default_rng(0))).save(folder / "a.png")
    return read_image(folder / "a.png")


def test_memory_goes_with_the_cache(pictures):
    cache = in_memory()
    cache(pictures[0])
    pixels = cache(pictures[0])
    place = cache.file.place
    assert place.exists()
    del cache
    assert not place.exists()
    assert_equal_images(pixels, read_image(pictures[0]))  # who still has an image keeps it


# Where, and how much.


def rooms(monkeypatch, ram, disk):
    monkeypatch.setattr(cache_choice, "_in_memory", lambda: ram)
    monkeypatch.setattr(cache_choice, "_on_disk", lambda: disk)


def total(paths):
    return sum(read_image(path, CANVAS).pixels.nbytes for path in paths)


def test_auto_takes_the_first_place_where_all_images_fit(pictures, monkeypatch):
    size = total(pictures)
    for ram, disk, expected in [
        (2 * size, 0, "cache in memory: about "),
        (2 * size - 4, 4 * size, "cache on disk ("),
        (2 * size - 4, 4 * size - 4, "no cache: about "),
    ]:
        rooms(monkeypatch, ram, disk)
        cache, (said,) = make_cache("auto", None, samples(pictures), (CANVAS, None))
        assert said.startswith(expected)
        assert in_words(size) in said
        assert (cache is None) == ("no cache" in said)


def test_a_budget_is_taken_as_far_as_there_is_so_much(monkeypatch):
    rooms(monkeypatch, 1000, 2000)
    assert [room_for("ram", budget) for budget in (None, 10, 999, 5000)] == [500, 10, 999, 1000]
    assert [room_for("disk", budget) for budget in (None, 10, 5000)] == [500, 10, 2000]


@pytest.mark.parametrize("place", ["ram", "disk"])
def test_a_budget_smaller_than_one_image_is_the_users_error(pictures, place):
    with pytest.raises(UserError, match=r"a cache of 3 kB can't hold one image of 3.27 kB; raise --cache-budget"):
        make_cache(place, 3000, samples(pictures), (CANVAS, None))
    cache, (said,) = make_cache("auto", 3000, samples(pictures), (CANVAS, None))
    assert cache is None
    assert "budgets of 3 kB in memory and 3 kB on disk" in said


def test_a_budget_for_some_images_says_so(pictures):
    cache, (said,) = make_cache("ram", 10_000, samples(pictures), (CANVAS, None))
    assert cache is not None
    assert said.endswith("budget 10 kB: what does not fit is decoded each time")


def test_a_folder_that_cannot_be_written_is_the_users_error(pictures, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"no cache can be kept in .*VISION_TASKS_CACHE"):
        make_cache("disk", None, samples(pictures), (CANVAS, None))
    rooms(monkeypatch, 0, cache_choice._on_disk())
    assert make_cache("auto", None, samples(pictures), (CANVAS, None))[0] is None
    rooms(monkeypatch, 0, MB)
    cache, (said,) = make_cache("auto", None, samples(pictures), (CANVAS, None))
    assert cache is None
    assert "no cache can be kept in" in said


def test_what_lies_many_in_a_file_or_a_shard_is_not_cached(pictures):
    pixels = read_image(pictures[0]).pixels
    packed = [Sample("a", pictures[0], samples(pictures)[0].truth, pixels=lambda: pixels)]
    sharded = [Sample("b", pictures[0], samples(pictures)[0].truth, data=pictures[0].read_bytes)]
    for loaded in (packed, sharded, []):
        cache, (said,) = make_cache("ram", None, loaded, (CANVAS, None))
        assert cache is None
        assert said == "no cache: none of the images is a file of its own that can be read"


def test_the_estimate_is_of_images_that_can_be_read(pictures):
    broken = pictures[0].with_name("broken.jpg")
    broken.write_bytes(b"")
    found = estimate_size([broken, *pictures], (CANVAS, None))
    assert found.images == 7
    assert found.total == round(total(pictures) / 6 * 7)
    assert found.smallest == 33 * 33 * 3
    assert estimate_size([broken], (CANVAS, None)).total == 0


def test_the_estimate_looks_at_few_of_many(pictures, monkeypatch):
    looked = []
    monkeypatch.setattr(cache_choice, "read_image", lambda path, *rest: looked.append(path) or read_image(path, *rest))
    found = estimate_size([pictures[0]] * 1000, (CANVAS, None))
    assert found.total == 1000 * 40 * 60 * 3
    assert len(looked) < 20
    monkeypatch.setattr(cache_choice, "_SECONDS", 0.0)
    looked.clear()
    assert estimate_size([pictures[0]] * 1000, (CANVAS, None)).total == found.total
    assert len(looked) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (999_700, "1 MB"), (3_270, "3.27 kB"), (8.5e9, "8.5 GB"),
     (2e15, "2e+03 TB")],
)  # fmt: skip
def test_sizes_in_words(size, expected):
    assert in_words(size) == expected


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_memory_of_the_machine(tmp_path):
    write(tmp_path / "proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\nHugePages_Total:   0\n")
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    assert available_memory(tmp_path) == 5000 * 1024
    assert available_memory(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("place", ["/", "/a.slice/b.service"])
@pytest.mark.parametrize(("limit", "expected"), [("3000000", 3_000_000 - 2_000_000 + 500_000), ("max", 5_120_000)])
def test_the_memory_of_a_container(tmp_path, place, limit, expected):
    """The limit may be of any group above the own one."""
    write(tmp_path / "proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\n")
    write(tmp_path / "proc/self/cgroup", f"0::{place}\n")
    group = tmp_path / "sys/fs/cgroup" / place.strip("/").split("/")[0]
    write(group / "memory.max", f"{limit}\n")
    write(group / "memory.current", "2000000\n")
    write(group / "memory.stat", "anon 1500000\ninactive_file 500000\n")
    assert available_memory(tmp_path) == expected


def test_the_memory_of_a_container_of_the_first_version(tmp_path):
    write(tmp_path / "proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\n")
    write(tmp_path / "proc/self/cgroup", "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/docker/abc\n")
    group = tmp_path / "sys/fs/cgroup/memory"
    write(group / "memory.limit_in_bytes", "3000000\n")
    write(group / "memory.usage_in_bytes", "2000000\n")
    write(group / "memory.stat", "cache 600000\ntotal_inactive_file 500000\n")
    assert available_memory(tmp_path) == 1_500_000


# A training.


def train(folder, out, **settings):
    quick = {"model": "mnist_cnn", "image_size": 28, "epochs": 2, "batch_size": 8, "device": "cpu", "precision": "fp32"}
    return vision_tasks.train("classify", data=folder / "data", out=folder / out, **quick | settings)


def test_trainings_end_with_the_same_weights_whatever_is_cached(tmp_path, capsys):
    write_folder_per_class(tmp_path / "data")
    weights = set()
    for run, (place, said) in enumerate(
        [("none", []), ("auto", ["in memory"]), ("ram", ["in memory"]), ("disk", ["on disk"]), ("disk", ["on disk"])]
    ):
        weights.add((train(tmp_path, f"{run}", cache=place) / "last.safetensors").read_bytes())
        assert re.findall(r"^cache (in memory|on disk)", capsys.readouterr().err, re.MULTILINE) == said
    assert len(weights) == 1


def test_a_training_decodes_each_image_once_those_of_validation_too(tmp_path, monkeypatch):
    write_folder_per_class(tmp_path / "data")
    decoded = []
    monkeypatch.setattr(cache_module, "decode", lambda data, *rest: decoded.append(data) or decode(data, *rest))
    train(tmp_path, "run", cache="ram", epochs=3)
    files = [path.read_bytes() for split in ("train", "val") for path in (tmp_path / "data" / split).rglob("*.*g")]
    assert sorted(decoded) == sorted(files)


def test_what_is_cached_and_why_is_said(tmp_path, capsys):
    write_folder_per_class(tmp_path / "data")
    train(tmp_path, "one", epochs=1)
    assert "no cache: one epoch reads each image once" in capsys.readouterr().err
    train(tmp_path, "full", cache="ram", cache_budget="12kB")
    said = capsys.readouterr().err
    assert "cache in memory: about 138 kB of decoded images, budget 12 kB: what does not fit is decoded each" in said
    assert said.count("the cache takes no more images (it is full)") == 1


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"cache": "ram", "cache_budget": "1kB"}, "raise --cache-budget"),
     ({"cache": "attic"}, "'auto', 'none', 'ram', 'disk' or 'device'"),
     ({"cache_budget": "much"}, "cache_budget")],
)  # fmt: skip
def test_wrong_caches_are_the_users_errors_before_anything_is_written(tmp_path, settings, complaint):
    write_folder_per_class(tmp_path / "data")
    with pytest.raises(UserError, match=re.escape(complaint)):
        train(tmp_path, "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_with_one_cache(tmp_path):
    write_folder_per_class(tmp_path / "data")
    command = [sys.executable, "-m", "vision_tasks.cli", "classify", "train", "--data", tmp_path / "data",
               "--model", "mnist_cnn", "--image-size", "28", "--epochs", "2", "--batch-size", "8", "--device", "cpu",
               "--cache", "ram", "--cache-budget", "1MB", "--set", "processes=2",
               "--out", tmp_path / "run"]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("cache in memory: about 138 kB of decoded images, budget 1 MB: they fit") == 1
