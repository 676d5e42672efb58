"""A training that was killed in the middle of an epoch and resumed ends with the bits of one that was not."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from tests import factories

# Everything that has a state of its own, or a place within the epoch.
SETTINGS = [word for setting in ("optimiser=sgd", "schedule=one_cycle", "ema=0.9", "accumulate=2", "patience=2")
            for word in ("--set", setting)]  # fmt: skip
RUNS = {
    "classify": (
        "resnet18",
        factories.write_folder_per_class,
        ["--image-size", "32", "--freeze-epochs", "1", *SETTINGS],
    ),
    "detect": ("yolo11n", factories.write_voc, ["--image-size", "64", "--set", "ema=0.99"]),
    "segment": ("unet:resnet18", factories.write_mask_pairs, ["--image-size", "64"]),
}


def command(task: str, *options: str | Path) -> list[str]:
    return [sys.executable, "-m", "vision_tasks.cli", task, "train", *map(str, options)]


def position(state: Path) -> tuple[int, int]:
    """Epoch and step of the last saved state; (-1, -1) before there is one."""
    try:
        with safe_open(state, framework="pt") as file:
            saved = json.loads(file.metadata()["position"])
    except (OSError, SafetensorError, RuntimeError):  # the last: it was replaced while it was being opened
        return -1, -1
    return saved["epoch"], saved["step"]


def header(checkpoint: Path) -> dict[str, str]:
    with safe_open(checkpoint, framework="pt") as file:
        return file.metadata()


def kill_in_the_second_epoch(arguments: list[str], state: Path) -> None:
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while position(state) < (1, 2) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    epoch, step = position(state)
    assert epoch == 1, "the process was not killed in its second epoch"
    assert step >= 2


@pytest.mark.slow
@pytest.mark.parametrize("task", RUNS)
def test_killed_and_resumed_equals_uninterrupted(task, tmp_path):
    model, write, options = RUNS[task]
    write(tmp_path / "data", **({"per_class": 12} if task == "classify" else {"images": 24}))
    common = ["--data", tmp_path / "data", "--model", model, "--epochs", "3", "--batch-size", "4", "--seed", "7",
              "--device", "cpu", "--set", "save_steps=1", *options]  # fmt: skip

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(task, *common, "--out", whole), check=True, stderr=subprocess.DEVNULL)
    kill_in_the_second_epoch(command(task, *common, "--out", killed), killed / "last.state")
    subprocess.run(command(task, "--resume", killed), check=True, stderr=subprocess.DEVNULL)

    for name in ("last.safetensors", "best.safetensors"):
        expected, found = load_file(whole / name), load_file(killed / name)
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            assert tensor.equal(found[key]), f"{name}: {key}"
        assert header(whole / name) == header(killed / name)
    assert scores(whole) == scores(killed)


def test_killed_before_the_first_state(tmp_path):
    """From the moment that there is a configuration there is a state: at any moment means this one too."""
    factories.write_folder_per_class(tmp_path / "data", per_class=12)
    options = ("--data", tmp_path / "data", "--model", "mnist_cnn", "--epochs", "2", "--seed", "3", "--device", "cpu")
    subprocess.run(command("classify", *options, "--out", tmp_path / "whole"), check=True, stderr=subprocess.DEVNULL)
    killed = tmp_path / "killed"
    process = subprocess.Popen(command("classify", *options, "--out", killed), stderr=subprocess.DEVNULL)
    while not (killed / "config.toml").exists() and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert position(killed / "last.state") <= (1, 0)
    subprocess.run(command("classify", "--resume", killed), check=True, stderr=subprocess.DEVNULL)
    expected, found = load_file(tmp_path / "whole" / "last.safetensors"), load_file(killed / "last.safetensors")
    assert all(tensor.equal(found[key]) for key, tensor in expected.items())


def scores(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("train_images_per_second", "data_wait")} for line in lines]
