"""The last epochs may normalise by what was gathered before, as evaluation does."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import vision_tasks as vt
from tests import factories
from vision_tasks.engine.optimisation import keep_statistics
from vision_tasks.engine.train import Training


def train(tmp_path, out, **options):
    if not (tmp_path / "data").exists():
        factories.write_folder_per_class(tmp_path / "data", ("a", "b"), per_class=8)
    settings = {"model": "resnet18", "image_size": 32, "batch_size": 4, "device": "cpu", "epochs": 3} | options
    return vt.train("classify", data=tmp_path / "data", out=tmp_path / out, **settings)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))


def test_a_batch_no_longer_speaks_for_itself():
    """Of a mixed batch every image comes out as alone; the scale of the normalisation still learns."""
    net, images = small().train(), torch.randn(4, 3, 5, 5) * torch.tensor([1.0, 3, 9, 27])[:, None, None, None]
    net(images)
    together = net(images)
    keep_statistics(net, None)
    assert not together.allclose(net(images), atol=0.1)
    one_by_one = torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(net(images), one_by_one)
    net(images).square().sum().backward()
    assert net[1].weight.grad.abs().min() > 0
    assert net[0].training


def test_statistics_can_come_from_another_copy():
    net, other = small(), small()
    other.train()(torch.randn(8, 3, 5, 5))
    keep_statistics(net.train(), other)
    assert net[2][0].running_mean.equal(other[2][0].running_mean)
    assert net[1].running_var.equal(other[1].running_var)
    assert net[0].weight.equal(small()[0].weight)
    before = net[1].running_var.clone()
    net(torch.randn(8, 3, 5, 5))
    assert net[1].running_var.equal(before)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_only_epochs_before_it_are_counted(tmp_path, ema):
    """Of 16 images without validation's share, in batches of 4."""
    counts = {
        off: load_file(train(tmp_path, f"run{off}", norm_off=off, ema=ema) / "last.safetensors")[
            "net.bn1.num_batches_tracked"
        ].item()
        for off in (0, 1, 3)
    }
    assert counts[0] > 0
    assert counts[1] == counts[0] * 2 / 3
    assert counts[3] == 0


def test_a_training_killed_in_such_an_epoch_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    options = {"norm_off": 1, "ema": 0.9, "save_steps": 1}
    whole = train(tmp_path, "whole", **options)
    move = Training._move

    def interrupted(self, done):
        if done == 2 * self.steps_per_epoch + 1:
            raise KeyboardInterrupt
        move(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, "killed", **options)
    vt.train("classify", resume=tmp_path / "killed")
    expected, found = (load_file(folder / "last.safetensors") for folder in (whole, tmp_path / "killed"))
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())
