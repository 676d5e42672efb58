"""What holds of a pipeline of threads: errors come through with a file's name, nothing piles up, nobody is left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

import vision_tasks
from tests import factories, stand_ins
from vision_tasks.augment.plan import fitted
from vision_tasks.data import loader as loader_module
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import Journey
from vision_tasks.data.on_device.side_stream import WallClock
from vision_tasks.data.on_device.upload import Upload, Uploads
from vision_tasks.types import Batch, Labels, Sample

CANVAS = (8, 8)
PATHS = [pytest.param(lambda: None, id="cpu"), pytest.param(lambda: stand_ins.path(), id="device")]


def one_label(size):
    return Labels.one_hot(0, 2)


@pytest.fixture
def loaded(tmp_path):
    for index in range(9):
        Image.fromarray(np.full((8, 8, 3), 20 * index, np.uint8)).save(tmp_path / f"{index}.png")
    return [Sample(file.name, file, one_label) for file in sorted(tmp_path.iterdir())]


def broken(sample, error):
    def truth(size):
        raise error

    return Sample(sample.id, sample.path, truth)


@pytest.mark.parametrize("make_path", PATHS)
def test_an_error_in_a_worker_names_the_file_and_leaves_no_thread(loaded, make_path):
    loaded[5] = broken(loaded[5], ValueError("nobody expects this"))
    before = threading.active_count()
    with pytest.raises(ValueError, match="nobody expects this") as raised:
        list(
            Loader(loaded, [fitted([i], CANVAS, "stretch") for i in range(9)], CANVAS, CANVAS, device_path=make_path())
        )
    assert any(str(loaded[5].path) in note for note in raised.value.__notes__)
    assert threading.active_count() == before


@pytest.mark.parametrize("make_path", PATHS)
def test_leaving_early_leaves_no_thread(loaded, make_path):
    before = threading.active_count()
    endless = (fitted([i % 9], CANVAS, "stretch") for i in range(10_000))
    batches = iter(Loader(loaded, endless, CANVAS, CANVAS, device_path=make_path()))
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("make_path", PATHS)
def test_few_batches_are_alive_however_slow_the_consumer_is(loaded, make_path, monkeypatch):
    """Those that are ahead, the one that is handed over and the one that the consumer holds."""
    alive: WeakSet[object] = WeakSet()
    asked = []

    class Counted(Batch):
        def __init__(self, **values):
            super().__init__(**values)
            alive.add(self.images)

    monkeypatch.setattr(loader_module, "Batch", Counted)

    def plans():
        for index in range(30):
            asked.append(index)
            yield fitted([index % 9, 3], CANVAS, "stretch")

    for taken, batch in enumerate(Loader(loaded, plans(), CANVAS, CANVAS, workers=8, device_path=make_path())):
        time.sleep(0.002)
        assert len(asked) <= taken + 1 + loader_module._BATCHES_AHEAD
        assert len(alive) <= 2
        assert len(batch) == 2


def test_memory_on_the_way_to_the_device_is_used_again(loaded):
    way = stand_ins.path()
    planned = [fitted([i % 9, 3], CANVAS, "stretch") for i in range(30)]
    expected = list(Loader(loaded, planned, CANVAS, CANVAS))
    for ours, other in zip(Loader(loaded, planned, CANVAS, CANVAS, device_path=way), expected, strict=True):
        torch.testing.assert_close(ours.images, other.images, atol=1e-6, rtol=0)
    assert 1 <= len(way.uploads._free) <= loader_module._BATCHES_AHEAD + 1


class Late:
    """A mark that is passed when it was waited for."""

    def __init__(self):
        self.waited = False

    def wait(self):
        self.waited = True

    def hand_over(self, tensors):
        raise AssertionError


def test_memory_is_written_again_only_when_its_copy_has_ended():
    uploads, copied = Uploads(pinned=False), Late()
    first, other = uploads.take(), uploads.take()
    assert first is not other
    first.put(np.ones((2, 2, 3), np.uint8))
    uploads.give_back(first, copied)
    assert not copied.waited
    assert uploads.take() is first
    assert copied.waited
    assert len(first.packed()) == 0


def test_images_of_many_threads_are_packed_side_by_side_also_where_the_memory_was_too_small():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (100, 100 + i, 3), dtype=np.uint8) for i in range(80)]  # 3.3 MB, of 1 MB
    upload = Upload(pinned=False)
    for _ in range(2):  # the second time there is room
        with ThreadPoolExecutor(8) as pool:
            starts = dict(enumerate(pool.map(upload.put, pictures)))
        packed = upload.packed().numpy()
        assert len(packed) == sum(picture.size for picture in pictures)
        for index, start in starts.items():
            picture = pictures[index]
            np.testing.assert_array_equal(packed[start : start + picture.size].reshape(picture.shape), picture)
        upload.clear()


def test_waiting_is_what_passes_between_asking_and_arriving():
    clock = WallClock()
    clock.asked()
    time.sleep(0.02)
    clock.arrived()
    time.sleep(0.02)
    assert 0.02 <= clock.taken() < 0.04 + 0.5
    assert clock.taken() == 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("task", "model", "write"),
    [
        ("classify", "resnet18", factories.write_folder_per_class),
        ("detect", "yolo11n", factories.write_voc),
        ("segment", "unet:resnet18", factories.write_mask_pairs),
    ],
)
def test_an_epoch_on_cuda_goes_by_the_device(tmp_path, monkeypatch, task, model, write):
    finished = []
    finish = Journey.finish
    monkeypatch.setattr(Journey, "finish", lambda self, *given: finished.append(1) or finish(self, *given))
    write(tmp_path / "data")
    run = vision_tasks.train(
        task, data=tmp_path / "data", model=model, epochs=1, batch_size=2, image_size=64, device="cuda",
        out=tmp_path / "run",
    )  # fmt: skip
    (line,) = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert np.isfinite(line["loss"])
    assert 0 <= line["data_wait"] <= 1
    assert finished


def steps_done(state):
    try:
        with safe_open(state, framework="pt") as file:
            position = json.loads(file.metadata()["position"])
    except (OSError, SafetensorError, RuntimeError):
        return -1
    return 100 * position["epoch"] + position["step"]


@pytest.mark.slow
def test_ctrl_c_ends_a_training_in_one_line_and_it_can_go_on(tmp_path):
    factories.write_folder_per_class(tmp_path / "data", per_class=16)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "vision_tasks.cli", "classify", "train"]
    options = ["--data", tmp_path / "data", "--model", "lenet5", "--image-size", "32", "--epochs", "400",
               "--batch-size", "4", "--device", "cpu", "--set", "save_steps=1", "--out", run]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *map(str, options)], stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while steps_done(run / "last.state") < 103 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - interrupted < 20
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("stopped; what was written so far is usable")
    before = steps_done(run / "last.state")
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("epochs = 400", f"epochs = {before // 100 + 1}"))
    subprocess.run([*command, "--resume", str(run)], check=True, stderr=subprocess.DEVNULL, env=environment)
    assert steps_done(run / "last.state") == 100 * (before // 100 + 1)
