"""Bad input on the command line: one `error:` line that names the thing, exit code 2, no user file touched."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks as vt
from tests import factories

TRAIN = ("train", "--image-size", "32", "--epochs", "1", "--batch-size", "4", "--device", "cpu")


def program(*arguments, **environment):
    """The program in a process of its own: (exit code, stderr)."""
    command = [sys.executable, "-m", "vision_tasks.cli", "classify", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    return done.returncode, done.stderr


def contents(folder: Path):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(outcome, *expected):
    code, err = outcome
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2, err
    assert "Traceback" not in err
    assert len(errors) == 1, err
    for words in expected:
        assert words in errors[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run: resnet18 on the classes a and b."""
    folder = tmp_path_factory.mktemp("trained")
    factories.write_folder_per_class(folder / "data")
    settings = {"model": "resnet18", "image_size": 32, "epochs": 1, "batch_size": 4, "device": "cpu"}
    return vt.train("classify", data=folder / "data", out=folder / "run", **settings)


def an_empty_folder(root):
    root.mkdir()


def a_class_without_images(root):
    factories.write_folder_per_class(root)
    for path in (root / "train" / "b").iterdir():
        path.unlink()


def one_class(root):
    factories.write_folder_per_class(root, classes=("a",))


def classes_alike_but_for_case(root):
    factories.write_folder_per_class(root, classes=("cat", "Cat"))


def a_table_without_labels(root):
    factories.write_folder_per_class(root / "images", splits=())
    (root / "labels.csv").write_text("path,colour\nimages/a/000.jpg,red\nimages/b/000.jpg,blue\n")


def a_table_of_missing_files(root):
    factories.write_folder_per_class(root / "images", splits=())
    (root / "labels.csv").write_text("path,label\nimages/a/000.jpg,a\nimages/b/gone.jpg,b\n")


FAULTS = {
    an_empty_folder: ("data", "empty"),
    a_class_without_images: ("b", "no images"),
    one_class: ("a", "only class"),
    classes_alike_but_for_case: ("cat", "Cat"),
    a_table_without_labels: ("labels.csv", "label"),
    a_table_of_missing_files: ("labels.csv", "gone.jpg"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_data_that_cannot_be_trained_on(fault, tmp_path):
    fault(tmp_path / "data")
    before = contents(tmp_path)
    assert_refused(program(*TRAIN, "--data", tmp_path / "data", "--out", tmp_path / "run"), *FAULTS[fault])
    assert contents(tmp_path) == before


def test_a_split_that_is_missing(run, tmp_path):
    factories.write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    outcome = program("evaluate", "--weights", run, "--data", tmp_path / "data", "--split", "test")
    assert_refused(outcome, "test", "train, val")


class _Code:
    """Unpickling this would make a file: the pickle says `open(path, 'w')`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_checkpoint_with_code_in_it_is_never_run(protocol, tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    proof, file = tmp_path / "was-run", tmp_path / "weights.pth"
    content = {"state_dict": {"fc.weight": torch.zeros(2, 512)}, "extra": _Code(proof)}
    if protocol == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    before = contents(tmp_path)
    outcome = program(*TRAIN, "--data", tmp_path / "data", "--weights", file, "--out", tmp_path / "run")
    assert_refused(outcome, "weights.pth")
    assert not proof.exists()
    assert contents(tmp_path) == before


def test_weights_of_another_model(run, tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    outcome = program(
        *TRAIN, "--data", tmp_path / "data", "--model", "resnet50", "--weights", run, "--out", tmp_path / "r"
    )
    assert_refused(outcome, "resnet18", "resnet50", "layer1.0.conv")


def test_weights_of_other_classes_are_no_judge(run, tmp_path):
    factories.write_folder_per_class(tmp_path / "data", classes=("a", "b", "c"))
    assert_refused(program("evaluate", "--weights", run, "--data", tmp_path / "data"), "a, b", "a, b, c")


def test_weights_of_other_classes_start_a_training(run, tmp_path):
    factories.write_folder_per_class(tmp_path / "data", classes=("a", "b", "c"))
    code, err = program(*TRAIN, "--data", tmp_path / "data", "--weights", run, "--out", tmp_path / "run")
    assert code == 0, err
    assert "new: net.fc.weight, net.fc.bias" in err


def test_an_unknown_model_has_neighbours(tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    assert_refused(program(*TRAIN, "--data", tmp_path / "data", "--model", "resnet81"), "did you mean", "resnet18")


@pytest.fixture
def strange_pictures(tmp_path):
    """Ten files, of which five are pictures and five can't be read."""
    folder = tmp_path / "strange"
    folder.mkdir()
    luck = np.random.default_rng(0)
    cv2.imwrite(str(folder / "sixteen-bit.png"), luck.integers(0, 65536, (40, 40, 3), dtype=np.uint16))
    picture = Image.fromarray(luck.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.quantize(16).save(folder / "palette.png")
    picture.save(folder / "animated.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.save(folder / "good.jpg")
    good = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    Image.new("L", (3000, 3000)).save(folder / "bomb.png")
    return folder


def test_strange_pictures_are_read_or_listed_and_nothing_stops(run, strange_pictures, tmp_path):
    before = contents(strange_pictures)
    arguments = ("predict", "--weights", run, "--source", strange_pictures, "--device", "cpu")
    code, err = program(*arguments, "--out", tmp_path / "out", VISION_TASKS_MAX_PIXELS="1000000")
    assert code == 0, err
    assert "5 images predicted" in err
    failed = (tmp_path / "out" / "failures.jsonl").read_text()
    for name in ("truncated.jpg", "empty.jpg", "text.jpg", "dangling.jpg", "bomb.png"):
        assert name in failed
    assert "VISION_TASKS_MAX_PIXELS" in failed
    code, err = program(*arguments, "--out", tmp_path / "more")
    assert "6 images predicted" in err, "a limit that can be raised"
    assert contents(strange_pictures) == before


def test_training_leaves_out_what_cannot_be_read(strange_pictures, tmp_path):
    factories.write_folder_per_class(tmp_path / "data", splits=())
    for path in strange_pictures.glob("*.*"):
        if path.is_file():
            (tmp_path / "data" / "a" / path.name).write_bytes(path.read_bytes())
    before = contents(tmp_path / "data")
    code, err = program(*TRAIN, "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert code == 0, err
    for name in ("truncated.jpg", "empty.jpg", "text.jpg"):
        assert f"{name}: " in err
    assert contents(tmp_path / "data") == before


FULL_DISK = """
import resource, sys
from vision_tasks.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as only Linux can")
def test_a_full_disk_leaves_the_last_good_checkpoint(run, tmp_path):
    """The checkpoint no longer fits: an error that names the file, and the run is as it was."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in run.iterdir():
        if path.is_file():
            text = path.read_bytes()
            (folder / path.name).write_bytes(
                text.replace(b"epochs = 1", b"epochs = 2", 1) if path.suffix == ".toml" else text
            )
    before = contents(folder)
    command = [sys.executable, "-c", FULL_DISK, str(2**20), "classify", "train", "--resume", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert_refused((done.returncode, done.stderr), str(folder))
    after = contents(folder)
    for name in ("best.safetensors", "last.safetensors", "last.state"):
        assert after[folder / name] == before[folder / name]
    assert after.keys() - {path for path in after if "tensorboard" in path.parts} == before.keys(), (
        "half a file is left"
    )
    vt.train("classify", resume=folder)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
