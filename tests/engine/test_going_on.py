"""A call that was ended is gone on with: nothing is lost, nothing is done twice, and the end is that of one call."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks as vt
from vision_tasks.engine.predict import Summary
from vision_tasks.models.checkpoint import save_model
from vision_tasks.types import InputSpec

ROOT = Path(__file__).parents[2]
MODELS = {"classify": "resnet18", "detect": "yolo11n", "segment": "unet:resnet18"}
FORMATS = {"classify": "csv,drawings", "detect": "coco,csv,yolo,drawings", "segment": "drawings"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for task, name in MODELS.items():
        torch.manual_seed(0)
        model = vt.create_model(name, ("a", "b"))
        save_model(model, folder / f"{task}.safetensors", InputSpec((32, 32), "letterbox"))
    return folder


def picture(path, seed, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(
        os.fsencode(path), "PNG"
    )


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        picture(tmp_path / "photos" / f"{number}.png", number)
    (tmp_path / "photos" / "2b.png").write_bytes(b"broken")
    return tmp_path / "photos"


def call(task, weights, photos, out, **options):
    given = {"formats": FORMATS[task], "conf": 0.0, "max_detections": 5, "batch_size": 2} | options
    return vt.predict(task, weights=weights / f"{task}.safetensors", source=photos, out=out, **given)


def contents(out):
    """All files but the store, which says how many calls there were."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "progress.sqlite")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Count:
    """How many images a network was given."""

    def __init__(self, monkeypatch):
        self.images = 0
        whole = vt.engine.evaluate.Inference.__call__

        def counted(model, images):
            self.images += len(images)
            return whole(model, images)

        monkeypatch.setattr(vt.engine.evaluate.Inference, "__call__", counted)

    def new(self):
        found, self.images = self.images, 0
        return found


@pytest.fixture
def count(monkeypatch):
    return Count(monkeypatch)


@pytest.mark.parametrize("task", MODELS)
def test_a_second_call_does_nothing_again(task, weights, photos, tmp_path, count):
    assert call(task, weights, photos, tmp_path / "o") == Summary(6, 1, 0, 0)
    before = contents(tmp_path / "o")
    assert count.new() == 6
    assert call(task, weights, photos, tmp_path / "o") == Summary(6, 1, 0, 6)
    assert count.new() == 0
    assert contents(tmp_path / "o") == before


def test_new_changed_mended_and_vanished_images(weights, photos, tmp_path, count):
    call("segment", weights, photos, tmp_path / "o")
    count.new()
    picture(photos / "new.png", 10)
    picture(photos / "3.png", 11)
    picture(photos / "2b.png", 12)
    (photos / "5.png").unlink()
    os.utime(photos / "0.png", ns=(1, 1))  # touched, but the same
    assert call("segment", weights, photos, tmp_path / "o") == Summary(7, 0, 0, 4)
    assert count.new() == 3
    call("segment", weights, photos, tmp_path / "once")
    (tmp_path / "o" / "masks" / "5.png.png").unlink()
    (tmp_path / "o" / "drawings" / "5.png.png").unlink()
    assert contents(tmp_path / "o") == contents(tmp_path / "once")


def test_a_changed_image_that_fails_leaves_nothing_of_what_it_was(weights, photos, tmp_path):
    call("segment", weights, photos, tmp_path / "o")
    (photos / "3.png").write_bytes(b"broken now")
    assert call("segment", weights, photos, tmp_path / "o") == Summary(5, 2, 0, 5)
    assert not (tmp_path / "o" / "masks" / "3.png.png").exists()
    assert not (tmp_path / "o" / "drawings" / "3.png.png").exists()
    assert [row["image"] for row in lines(tmp_path / "o" / "failures.jsonl")] == ["2b.png", "3.png"]


def test_an_image_that_two_sources_name_is_one(weights, photos, tmp_path, count):
    both = [photos, photos / "3.png", photos / "2b.png"]
    assert call("classify", weights, both, tmp_path / "o") == Summary(6, 1, 0, 0)
    assert count.new() == 6


def test_nothing_is_removed_where_a_refused_member_points(weights, tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr("../../../mine", "x")
        archive.writestr("../../../mine.jpg", "x")
    (tmp_path / "mine.png").write_text("mine")
    (tmp_path / "mine.jpg.png").write_text("mine")
    with pytest.raises(vt.UserError, match="none of 2 images"):
        call("classify", weights, tmp_path / "it.zip", tmp_path / "o")
    assert {path.name for path in tmp_path.iterdir()} == {"it.zip", "mine.png", "mine.jpg.png", "o"}
    assert {row["reason"] for row in lines(tmp_path / "o" / "failures.jsonl")} == {
        "its name leads out of the archive; refused"
    }


def test_identical_images_are_two(weights, photos, tmp_path):
    shutil.copy2(photos / "0.png", photos / "twin.png")
    call("classify", weights, photos, tmp_path / "o")
    rows = {row["image"]: row for row in lines(tmp_path / "o" / "predictions.jsonl")}
    assert rows["0.png"]["sha256"] == rows["twin.png"]["sha256"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"conf": 0.5}, "conf was 0, now 0.5"),
        ({"max_detections": 7}, "max-detections was 5, now 7"),
        ({"formats": "jsonl"}, "format was drawings,csv,jsonl, now jsonl"),
        ({"precision": "bf16"}, "precision was fp32, now bf16"),
    ],
)
def test_other_settings_are_refused_and_restart_begins_anew(options, said, weights, photos, tmp_path, count):
    call("classify", weights, photos, tmp_path / "o")
    before = contents(tmp_path / "o")
    with pytest.raises(vt.UserError, match=f"already holds predictions; give another --out, or --restart .*{said}"):
        call("classify", weights, photos, tmp_path / "o", **options)
    assert contents(tmp_path / "o") == before
    count.new()
    assert call("classify", weights, photos, tmp_path / "o", restart=True, **options) == Summary(6, 1, 0, 0)
    assert count.new() == 6


def test_other_weights_are_refused_and_the_same_elsewhere_are_not(weights, photos, tmp_path):
    def predict(file):
        return vt.predict("classify", weights=file, source=photos, out=tmp_path / "o")

    predict(weights / "classify.safetensors")
    shutil.copy(weights / "classify.safetensors", tmp_path / "moved.safetensors")
    assert predict(tmp_path / "moved.safetensors").before == 6
    torch.manual_seed(1)
    save_model(vt.create_model("resnet18", ("a", "b")), tmp_path / "x.safetensors", InputSpec((32, 32), "letterbox"))
    with pytest.raises(vt.UserError, match="weights was"):
        predict(tmp_path / "x.safetensors")


def test_ctrl_c_leaves_tables_of_what_was_done_and_the_next_call_goes_on(weights, photos, tmp_path, monkeypatch, count):
    whole = vt.engine.evaluate.Inference.__call__

    def stopped(model, images):
        if count.images >= 4:
            raise KeyboardInterrupt
        return whole(model, images)

    with monkeypatch.context() as patched:
        patched.setattr(vt.engine.evaluate.Inference, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            call("detect", weights, photos, tmp_path / "o")
    done = [row["image"] for row in lines(tmp_path / "o" / "predictions.jsonl")]
    assert done == [f"{number}.png" for number in range(count.new())]
    assert 0 < len(done) < 6
    assert call("detect", weights, photos, tmp_path / "o").predicted == 6
    call("detect", weights, photos, tmp_path / "once")
    assert contents(tmp_path / "o") == contents(tmp_path / "once")


def test_a_file_that_is_replaced_while_it_is_read(weights, photos, tmp_path, monkeypatch):
    """The hash is that of the bytes that were decoded; a drawing is never of another picture than its boxes."""
    read, expected = Path.read_bytes, hashlib.sha256((photos / "0.png").read_bytes()).hexdigest()

    def replaced(path):
        data = read(path)
        if path.name == "0.png":
            picture(path, 99, (40, 50))
        return data

    monkeypatch.setattr(Path, "read_bytes", replaced)
    call("classify", weights, photos / "0.png", tmp_path / "o", formats="jsonl")
    (row,) = lines(tmp_path / "o" / "predictions.jsonl")
    assert (row["sha256"], row["width"]) == (expected, 32)
    picture(photos / "0.png", 0)
    with pytest.raises(vt.UserError, match="none of 1 images"):
        call("classify", weights, photos / "0.png", tmp_path / "drawn", formats="drawings")
    assert "replaced while it was read" in lines(tmp_path / "drawn" / "failures.jsonl")[0]["reason"]
    monkeypatch.undo()
    for out, formats in (("o", "jsonl"), ("drawn", "drawings")):
        call("classify", weights, photos / "0.png", tmp_path / out, formats=formats)
        assert [row["width"] for row in lines(tmp_path / out / "predictions.jsonl")] == [50]


def test_two_calls_at_once_do_not_write_into_one_folder(weights, photos, tmp_path):
    call("classify", weights, photos, tmp_path / "o")
    other = sqlite3.connect(tmp_path / "o" / "progress.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(vt.UserError, match="another predict writes into this folder"):
        call("classify", weights, photos, tmp_path / "o")
    other.close()


def test_a_damaged_store_is_told_and_restart_begins_anew(weights, photos, tmp_path):
    call("classify", weights, photos, tmp_path / "o")
    store = tmp_path / "o" / "progress.sqlite"
    store.write_bytes(store.read_bytes()[:100] + bytes(3000))
    with pytest.raises(vt.UserError, match=r"progress.sqlite: .*--restart to begin anew"):
        call("classify", weights, photos, tmp_path / "o")
    assert call("classify", weights, photos, tmp_path / "o", restart=True).predicted == 6


def test_the_output_can_be_no_file(weights, photos, tmp_path):
    (tmp_path / "o").write_text("mine")
    with pytest.raises(vt.UserError, match=r"cannot write into .*; give another --out"):
        call("classify", weights, photos, tmp_path / "o")
    assert (tmp_path / "o").read_text() == "mine"


def test_a_folder_that_cannot_be_written(weights, photos, tmp_path, monkeypatch):
    def refuse(*_, **__):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(vt.UserError, match=r"cannot write into .*: give another --out, or check its permissions"):
        call("classify", weights, photos, tmp_path / "o")


# A process that has imported everything and forks one call after the other: argv are weights and photos; of each line
# of its input the folder, how large a file may become (0 = no limit) and after how many seconds the call is killed.
NURSERY = """
import os, resource, signal, sys, time
import torch
torch.set_num_threads(1)
import vision_tasks as vt
import vision_tasks.cli
from vision_tasks.commands.predict import predict
vt.create_model("unet:resnet18", ("a", "b"))
for line in sys.stdin:
    out, limit, seconds = line.split()
    child = os.fork()
    if child == 0:
        if int(limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
        sys.stderr = open(out + ".log", "w")
        sys.argv = ["vt-segment", "predict", "--weights", sys.argv[1], "--source", sys.argv[2], "--out", out,
                    "--format", "drawings", "--batch-size", "4"]
        try:
            vision_tasks.cli.segment_main()
        except SystemExit as ended:
            sys.stderr.flush()
            os._exit(ended.code or 0)
    if float(seconds):
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Calls that cost no imports."""

    def __init__(self, weights, photos):
        command = [sys.executable, "-c", NURSERY, str(weights / "segment.safetensors"), str(photos)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, out, limit=0, killed_after=0.0):
        """The exit code, which is negative for the number of a signal, and what was printed."""
        self.process.stdin.write(f"{out} {limit} {killed_after}\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, Path(f"{out}.log").read_text()


@pytest.fixture
def nursery(weights, many):
    made = Nursery(weights, many)
    yield made
    made.process.communicate()


@pytest.fixture
def many(tmp_path):
    for number in range(56):
        picture(tmp_path / "many" / f"{number % 7}" / f"{number:02}.png", number)
    for number in (3, 20, 41):
        (tmp_path / "many" / f"{number % 7}" / f"{number:02}b.png").write_bytes(b"broken")
    shutil.copy2(tmp_path / "many" / "0" / "00.png", tmp_path / "many" / "twin.png")
    return tmp_path / "many"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")
def test_calls_that_are_killed_at_any_moment_are_gone_on_with(nursery, tmp_path):
    """Twenty kills at random moments, a few to a folder; each folder ends as if there had been none."""
    assert nursery.call(tmp_path / "once")[0] == 0  # reads weights and photos for the first time
    start = time.monotonic()
    assert nursery.call(tmp_path / "timed")[0] == 0
    whole, expected = time.monotonic() - start, contents(tmp_path / "once")
    assert len(lines(tmp_path / "once" / "predictions.jsonl")) == 57
    assert contents(tmp_path / "timed") == expected
    luck, kills, folders = random.Random(7), 0, 0
    while kills < 20:
        out, folders = tmp_path / f"killed-{folders}", folders + 1
        for _ in range(4):
            kills += nursery.call(out, killed_after=luck.uniform(0.05, 0.9) * whole)[0] == -signal.SIGKILL
        code, log = nursery.call(out)
        assert code == 0, log
        assert "57 images predicted" in log
        assert contents(out) == expected
        assert folders < 20, "kills that come too late prove nothing"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
@pytest.mark.parametrize("limit", [500, 9_000, 30_000])
def test_a_full_disk_is_told_in_one_line_and_nothing_is_lost(limit, nursery, tmp_path):
    """No room for the store, for its log at once, or for that a little later."""
    code, log = nursery.call(tmp_path / "o", limit=limit)
    assert code == 2, log
    assert [line for line in log.splitlines() if "make room" in line] == log.splitlines()[-1:]
    assert "Traceback" not in log
    code, log = nursery.call(tmp_path / "o")
    assert code == 0, log
    assert nursery.call(tmp_path / "once")[0] == 0
    assert contents(tmp_path / "o") == contents(tmp_path / "once")
