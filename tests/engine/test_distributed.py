"""Processes that share each batch learn what one process learns from it."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests import factories


def train(tmp_path, out, *options):
    command = [sys.executable, "-m", "vision_tasks.cli", "classify", "train", "--data", tmp_path / "data",
               "--model", "mnist_cnn", "--epochs", "2", "--batch-size", "8", "--device", "cpu", "--lr", "0.01",
               "--precision", "fp32", "--out", tmp_path / out, *options]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], load_file(tmp_path / out / "last.safetensors"), result.stderr


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """No batch normalisation, so the same global batch gives the same loss and gradients, to rounding."""
    factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"), per_class=9)
    one, alone, _ = train(tmp_path, "one")
    two, shared, said = train(tmp_path, "two", "--set", "processes=2")
    for expected, found in zip(one, two, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert found["train_images"] == expected["train_images"] == 27
        assert found["top1"] == pytest.approx(expected["top1"], abs=1 / 27 + 1e-6)
    assert all((tensor - alone[name]).abs().max() < 1e-3 for name, tensor in shared.items())
    assert said.count("epoch 1/2:") == 1, "more than one process spoke"


@pytest.mark.slow
def test_accumulated_batches_are_one_large_batch(tmp_path):
    factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"), per_class=9)
    _, whole, _ = train(tmp_path, "whole", "--set", "optimiser=sgd")
    _, added, _ = train(tmp_path, "added", "--set", "optimiser=sgd", "--batch-size", "2", "--set", "accumulate=4")
    assert all((tensor - whole[name]).abs().max() < 1e-5 for name, tensor in added.items())


@pytest.mark.slow
def test_a_file_that_cannot_be_read_stops_no_process(tmp_path):
    """The process whose whole part fails waits for nobody, and nobody waits for it."""
    factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"), per_class=4)
    bad = tmp_path / "data" / "train" / "b" / "001.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    lines, _, said = train(tmp_path, "two", "--set", "processes=2", "--batch-size", "2", "--epochs", "3")
    assert [line["train_images"] for line in lines] == [11, 11, 11]
    assert said.count(f"left out, cannot be read: {bad}: ") == 1
    assert said.index(str(bad)) < said.index("epoch 1/3:"), "whichever process saw it"


PROBE = """
import sys, torch
from vision_tasks.engine import train
finish = train.Training._finish_epoch
def told(training):
    tensors = [tensor.double().sum() for tensor in training.model.parameters()]
    alike = training.fabric.all_gather(torch.stack(tensors))
    assert torch.equal(alike[0], alike[1]), "the processes learnt different weights"
    finish(training)
train.Training._finish_epoch = told
from vision_tasks.cli import main
sys.exit(main())
"""


@pytest.mark.slow
def test_two_processes_of_a_detector_agree(tmp_path):
    """A batch of two, an image each: one without boxes keeps nobody waiting, and both end with the same weights."""
    factories.write_voc(tmp_path / "data")
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    command = [sys.executable, script, "detect", "train", "--data", tmp_path / "data", "--model", "yolov8n",
               "--image-size", "64", "--epochs", "2", "--batch-size", "2", "--device", "cpu", "--augment", "none",
               "--precision", "fp32", "--set", "processes=2", "--out", tmp_path / "run"]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(line["loss"] > 0 for line in lines)
